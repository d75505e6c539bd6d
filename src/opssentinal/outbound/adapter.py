"""The guarded session of `requests`: its connections go only where `route` has checked."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from opssentinal.outbound import route

TOTAL_S = 30.0
BODY_BYTES_MAX = 4 << 20
_PORTION_BYTES = 64 << 10


def session(*, timeout_s: float = TOTAL_S, body_bytes_max: int = BODY_BYTES_MAX) -> requests.Session:
    """A session for libraries that speak `requests`; also a context manager.

    Each request ends within `timeout_s` (a shorter `timeout` of the caller counts too) and its body is read at once. Redirects
    are answers and not followed. Raises Refused or InvalidAddress for where it may not go; else what `requests` raises,
    which both are too. A body of more than `body_bytes_max` is an error.
    """
    return _Session(GuardedAdapter(timeout_s, body_bytes_max))


class _Session(requests.Session):
    """Without the environment's proxies and passwords, without redirects, without cookies that outlive it."""

    def __init__(self, adapter: GuardedAdapter) -> None:
        super().__init__()
        self.trust_env = False
        # What a server compresses may grow without end when it is unpacked.
        self.headers.update({"User-Agent": "OpsSentinal", "Accept-Encoding": "identity"})
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Never: a redirect is an answer. It could lead where the first address would not have been accepted."""


class GuardedAdapter(HTTPAdapter):
    """One request, one connection, one deadline. `cuts` keeps the beginning of a body that is too large."""

    def __init__(self, timeout_s: float, body_bytes_max: int, *, cuts: bool = False) -> None:
        self._timeout_s = timeout_s
        self._body_bytes_max = body_bytes_max
        self._cuts = cuts
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        """Make pools of guarded connections."""
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Verify certificates always, against the system's authorities, the public ones and the operator's own."""
        host, _ = super().build_connection_pool_key_attributes(request, True, cert)
        if host["scheme"] != "https":
            return host, {}
        return host, {"ssl_context": _authorities(settings.CONFIG.outbound_ca_file), "cert_reqs": "CERT_REQUIRED"}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: the context of `build_connection_pool_key_attributes` says all."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send, and read the whole answer. Raises Refused, InvalidAddress, or a RequestException.

        `verify` and `proxies` count for nothing: certificates are always checked, and behind a proxy nobody here would
        know where the request goes.
        """
        if timeout is None:
            timeout = (route.CONNECT_S, self._timeout_s)
        way = route.Route(str(request.url), self._timeout_s)
        try:
            with way:
                response = super().send(request, True, timeout, True, cert, None)
                self._read(response)
        except requests.RequestException:
            self._raise_if_late(way, request)
            raise
        except TimeoutError as error:
            raise requests.exceptions.ConnectTimeout(str(error), request=request) from error
        except (OSError, HTTPError) as error:
            self._raise_if_late(way, request)
            raise requests.exceptions.ConnectionError(str(error), request=request) from error
        finally:
            self.poolmanager.clear()
        # The end of a connection that was shut looks like the end of a body.
        self._raise_if_late(way, request)
        return response

    def _read(self, response: requests.Response) -> None:
        body = bytearray()
        while len(body) <= self._body_bytes_max:
            portion = response.raw.read(_PORTION_BYTES, decode_content=True)
            if not portion:
                break
            body += portion
        if len(body) > self._body_bytes_max:
            response.raw.close()
            if not self._cuts:
                raise requests.exceptions.ContentDecodingError(
                    f"The answer has more than {self._body_bytes_max} bytes.", response=response
                )
        response._content = bytes(body[: self._body_bytes_max])
        response._content_consumed = True

    def _raise_if_late(self, way: route.Route, request: requests.PreparedRequest) -> None:
        if way.is_over:
            raise requests.exceptions.ReadTimeout(
                f"There was no whole answer in {self._timeout_s:g} s.", request=request
            )


class _Guarded(HTTPConnection):
    """A connection that takes its socket from the route instead of resolving a name itself."""

    def _new_conn(self) -> Any:
        way = route.current.get()
        try:
            return way.connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"{way.host} does not answer") from error
        except OSError as error:
            raise NewConnectionError(self, f"{way.host} cannot be reached: {error}") from error


class _SecureGuarded(_Guarded, HTTPSConnection):
    """The same with TLS, whose name is that of the URL."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureGuarded


@lru_cache(maxsize=4)
def _authorities(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(requests.certs.where())
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
