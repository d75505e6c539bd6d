"""One client's connection: uvicorn's HTTP/1.1 with a bound on how long and how large the head of a request may be.

uvicorn closes a connection that is idle after an answer, and waits for ever for the first request and for the rest of a
request's head. With a bound on connections, a few thousand clients who say nothing would keep everybody else out.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_TIMEOUT_S = 20
HEAD_BYTES_MAX = 64 * 1024


class Connection(HttpToolsProtocol):
    """A connection that is closed if a request's head is not there HEAD_TIMEOUT_S seconds after it could begin.

    That is after the connection was made or, once an answer was given, after the first byte. A head that takes more than
    HEAD_BYTES_MAX bytes is answered 400.
    """

    _is_in_head = False
    _head_bytes = 0
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the head is there."""
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse, and wait for the rest of a head that is not whole; most heads come in one piece and need no timer."""
        super().data_received(data)
        if self.transport.is_closing():
            self._stop_waiting()
        elif self._is_in_head or self.cycle is None or self.cycle.response_complete:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The head of the request is too large.")
            self._wait_for_head()
        else:
            self._stop_waiting()

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _stop_waiting(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
