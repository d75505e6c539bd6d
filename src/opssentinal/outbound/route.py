"""The way of one request: the checked addresses it may connect to, and the moment by which it must have ended."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from contextvars import ContextVar
from typing import Any, Self

from opssentinal.outbound.address import IPAddress, check_address, check_url, literal

CONNECT_S = 10.0
_DEFAULT_PORTS = {"http": 80, "https": 443}

# The way of the request that this thread is making; the connection takes its socket from it.
current: ContextVar[Route] = ContextVar("outbound_route")


class Route:
    """Used as a context manager around one request. Until it ends, a watch may end its sockets at the deadline.

    Timeouts of sockets count from the last byte received, so a server that sends a byte now and then would never end:
    the deadline is kept by a timer that shuts the connection, whatever layer is reading from it.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = check_url(url)
        self.host = str(parts.hostname)
        self._is_plain = parts.scheme == "http"
        self._port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self._deadline = time.monotonic() + timeout_s
        self._sockets: list[socket.socket] = []
        self._places: list[tuple[Any, ...]] = []

    def __enter__(self) -> Self:
        """Resolve the host, once, and check every address. Raises Refused, TimeoutError or OSError."""
        self._places = _resolve(self.host, self._port, min(CONNECT_S, self.remaining_s))
        for *_, place in self._places:
            check_address(self.host, _address(place), is_plain=self._is_plain)
        self._timer = threading.Timer(self.remaining_s, self._expire)
        self._timer.daemon = True
        self._timer.start()
        self._token = current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        current.reset(self._token)
        self._timer.cancel()
        for watched in self._sockets:
            watched.close()

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, at least a millisecond, since zero would mean not to wait at all."""
        return max(self._deadline - time.monotonic(), 0.001)

    @property
    def is_over(self) -> bool:
        """The deadline has passed."""
        return time.monotonic() >= self._deadline

    def connect(self) -> socket.socket:
        """Connect to the first checked address that answers; never to a name. Raises OSError."""
        failure: OSError = OSError(f"{self.host} has no address")
        for family, kind, protocol, _, place in self._places:
            self._check_time()
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(min(CONNECT_S, self.remaining_s))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.connect(place)
                if _address(connection.getpeername()) != _address(place):
                    raise ConnectionRefusedError(f"{place[0]} led to another address, {connection.getpeername()[0]}")
                # A second handle on the same connection: TLS takes the first one over.
                self._sockets.append(connection.dup())
                self._check_time()  # the timer may have gone off just before it could see this one
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure

    def _check_time(self) -> None:
        if self.is_over:
            raise TimeoutError(f"{self.host} does not answer in time")

    def _expire(self) -> None:
        for watched in list(self._sockets):
            try:
                watched.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # ended by the other side in this very moment


def _address(place: tuple[Any, ...]) -> IPAddress:
    return ipaddress.ip_address(str(place[0]).partition("%")[0])


def _resolve(host: str, port: int, timeout_s: float) -> list[tuple[Any, ...]]:
    """Ask the resolver, which knows no timeout of its own, from a thread that may be left behind."""
    if literal(host) is not None:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[list[tuple[Any, ...]] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="outbound-resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError(f"the name {host} was not resolved in {timeout_s:.0f} s") from None
    if isinstance(answer, Exception):
        raise OSError(f"the name {host} cannot be resolved: {answer}") from answer
    return answer
