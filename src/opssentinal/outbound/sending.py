"""One request and what came of it: what the webhook uses."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException

import requests
from urllib3.exceptions import HTTPError

from opssentinal.errors import Unavailable
from opssentinal.outbound.adapter import GuardedAdapter, _Session
from opssentinal.outbound.address import InvalidAddress, Refused

_REASON_LENGTH_MAX = 300


@dataclass(frozen=True)
class Answer:
    """What a server answered: the names of `headers` are in lower case, `body` is its beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_ms: int

    @property
    def is_success(self) -> bool:
        """A status of 200 to 299. A redirect is none."""
        return 200 <= self.status < 300


def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float = 15.0,
    bytes_max: int = 64 << 10,
) -> Answer:
    """Send one request and return the answer, whatever its status, with at most `bytes_max` bytes of its body.

    All of it, from the name's resolution to the last byte, takes at most `timeout_s`. Raises InvalidAddress for a URL that
    cannot be called, Refused for an address that may not be, and Unavailable where no answer came.
    """
    begun = time.monotonic()
    with _Session(GuardedAdapter(timeout_s, bytes_max, cuts=True)) as session:
        try:
            response = session.request(method, url, headers=dict(headers or {}), data=body)
        except (Refused, InvalidAddress):
            raise
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
        ) as error:
            # Without the URL itself, whose path may be a password.
            raise InvalidAddress("This URL cannot be called, since it is not well formed.") from error
        except requests.Timeout as error:
            raise Unavailable(_reason(error), code="outbound_timeout") from error
        except requests.RequestException as error:
            raise Unavailable(_reason(error), code="outbound_failed") from error
    return Answer(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        body=response.content,
        latency_ms=round((time.monotonic() - begun) * 1000),
    )


def _reason(error: BaseException) -> str:
    """The cause in words, without the layers around it, each of which repeats the one below as a representation."""
    while isinstance(error, (requests.RequestException, HTTPError)):
        inner = getattr(error, "reason", None) or next((arg for arg in error.args if isinstance(arg, Exception)), None)
        inner = inner if isinstance(inner, Exception) else error.__cause__
        if inner is None:
            break
        error = inner
    if isinstance(error, HTTPException) and not isinstance(error, HTTPError | OSError):
        return f"The answer is not HTTP: {error!r}."
    text = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return f"{text[:1].upper()}{text[1:_REASON_LENGTH_MAX].rstrip('.')}."
