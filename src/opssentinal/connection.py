"""One client's connection: uvicorn's HTTP/1.1, with bounds on how a head may arrive and a short way for small requests.

uvicorn closes a connection that is idle after an answer, and waits for ever for the first request and for the rest of a
request's head. With a bound on connections, a few thousand clients who say nothing would keep everybody else out.

Its task, messages and events for each request cost more than storing an event. A request that has come whole, with nothing
special about it, needs none of them: it is handed over as it is, and its answer written when it is there.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from opssentinal.direct import END_OF_HEAD, Direct, Header, KnownHead

HEAD_TIMEOUT_S = 20
HEAD_BYTES_MAX = 64 * 1024
# Bytes of framing for each of content: a chunk of one byte takes five. HEAD_BYTES_MAX more are free, also for trailers.
FRAMING_FACTOR = 8
# Many clients send head and body apart, a moment after each other.
HELD_S = 1
HELD_BYTES_MAX = 64 * 1024
# Of what holds more than one head, so much is read at once: a request of 18 bytes takes two thousand while it waits for its turn.
_PIECE_BYTES = 4_096
_FIELD = b"%b: %b\r\n".__mod__


class Connection(HttpToolsProtocol):
    """A connection that is closed if a request's head is not there HEAD_TIMEOUT_S seconds after it could begin.

    That is after the connection was made or, once an answer was given, after the first byte. A head that is not whole after
    HEAD_BYTES_MAX bytes more than its first piece is answered 400. So is a body whose chunks and trailers outweigh its content;
    fields in trailers are thrown away, since they come after everything was decided that they could speak of (RFC 9110, 6.5.1).

    `direct`, if given, is offered what it is for: requests of HTTP/1.1 that leave the connection open, wait for no other and
    are whole within HELD_S seconds and HELD_BYTES_MAX bytes of body. All others go over ASGI, whose application bounds the
    time and the size of a body.
    """

    _is_in_head = False
    _head_bytes = 0
    _is_in_body = False
    _body_bytes = 0
    _framing_bytes = 0  # of the body that comes: what was received for it and is not its content
    _head_timer: TimerHandle | None = None
    # The last request of the piece in hand that went the direct way.
    _taken: KnownHead | None = None
    # The body so far of a request that has not been started, since it may go the direct way; None where there is none.
    _held: bytearray | None = None
    _held_timer: TimerHandle | None = None
    _idle_since: float | None = None  # the loop's time of the last answer; None while a request comes or is worked on
    _idle_timer: TimerHandle | None = None
    # What came and is not parsed yet, because requests before it wait for their turn.
    _rest = b""
    # Why the client is not listened to any more; it is told once all that it asked before has been answered.
    _refusal: str | None = None

    def __init__(self, *args: Any, direct: Direct | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._direct = direct

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more, and forget half a request."""
        self._stop_waiting()
        self._take_held()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection, once the request that has begun is answered."""
        self._start_held()
        super().shutdown()

    def on_message_begin(self) -> None:
        """Note that a head has begun. What ASGI is told of it is made where it is needed, in `_start`."""
        self._is_in_head = True
        self._head_bytes = self._body_bytes = self._framing_bytes = 0
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        """Note that the head is there, and start the request unless it may go the direct way."""
        self._is_in_head, self._is_in_body = False, True
        if self._may_go_direct():
            self._held = bytearray()
        else:
            self._start()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; one of a trailer is nothing to anybody."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Keep the body, or hand it to the request that has been started."""
        self._body_bytes += len(body)
        self._framing_bytes -= len(body)
        if self._held is None:
            super().on_body(body)
            return
        self._held += body
        if len(self._held) > HELD_BYTES_MAX:
            self._start_held()

    def on_message_complete(self) -> None:
        """Let a whole request go the direct way, if it is taken there."""
        self._is_in_body = False
        if self._held is not None and self._direct is not None:
            head = self._direct.read(self.headers)
            if self._take(head, bytes(self._held)):
                self._taken = KnownHead(head, self._body_bytes)
                self._take_held()
                return
            self._start_held()
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Parse, unless requests wait for their turn: what comes behind them stays as it is, and no more is read meanwhile."""
        if self._refusal is None and self._rest:
            self._rest += data
        elif self._refusal is None:
            self._parse_in_turn(data)

    @property
    def has_enough(self) -> bool:
        """Whether no more is to be read from the client for now. After a refusal it is read on, and thrown away: a connection
        that is closed with something unread is reset, and its last answers are lost."""
        return self._refusal is None and bool(self.pipeline or self._rest)

    def _parse_in_turn(self, data: bytes) -> None:
        while data and self._refusal is None and not self.transport.is_closing():
            if self.pipeline:
                self._rest = data
                self.flow.pause_reading()
                return
            size = len(data) if _has_one_head(data) else _PIECE_BYTES
            self._parse(data[:size])
            data = data[size:]

    def _parse(self, data: bytes) -> None:
        """Parse, and wait for the rest of what is not whole; most requests come in one piece and need no timer."""
        self._idle_since = None
        is_between = not (self._is_in_head or self._is_in_body)
        if is_between and self._take_known(data):
            return
        self._taken = None
        self._framing_bytes += len(data)
        self._head_bytes += len(data) if self._is_in_head else 0  # forgotten where a head begins in this piece
        before = self.cycle
        super().data_received(data)
        if is_between and self._direct and self._taken and not self.cycle.response_complete:
            # Not of one that was refused at once, as strangers are.
            self._direct.remember(data, self._taken)
        if self._is_in_body and self._framing_bytes > HEAD_BYTES_MAX + FRAMING_FACTOR * self._body_bytes:
            self._take_held()
            self.send_400_response("The body of the request is framed in too many bytes.")
        if self._refusal is not None or self.transport.is_closing():
            self._stop_waiting()
            self._take_held()
        elif self._held is not None:
            self._stop_waiting()
            if self._held_timer is None:
                self._held_timer = self.loop.call_later(HELD_S, self._start_held)
        elif self._is_in_head or (self.cycle is before and (before is None or before.response_complete)):
            # In a head, or in what goes before one. Another cycle is a request of this very piece, which is answered already.
            self._wait_for_head()
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The head of the request is too large.")
                self._stop_waiting()
        else:
            self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """Refuse what was sent last and close the connection, after the answers to what the client asked before it."""
        if self.pipeline:
            is_another_open = True
            if self.pipeline[0][0].more_body:
                self.pipeline.popleft()  # the request that is refused
        else:
            is_another_open = not (self.cycle is None or self.cycle.response_complete or self.cycle.more_body)
        if is_another_open:
            self._refusal = msg
            self.flow.resume_reading()
        else:
            super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """Go on with the request that waits, or begin to wait for one.

        In the place of uvicorn's, which makes a timer after each answer and cancels it at the next request. Here one timer
        looks, when it runs out, how long nothing has come.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        before = self.cycle
        if is_another_started := bool(self.pipeline):
            self._start_asgi_task(*self.pipeline.pop())
        if self._rest and not self.pipeline:
            rest, self._rest = self._rest, b""
            self._parse_in_turn(rest)
        self.flow.resume_reading()
        if is_another_started or (self.cycle is not before and not self.cycle.response_complete):
            return
        if self._refusal is not None:
            super().send_400_response(self._refusal)
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _take(self, head: Any, body: bytes) -> bool:
        """Offer a whole request to the direct way."""
        assert self._direct is not None
        before, exchange = self.cycle, _Exchange(self)
        self.cycle = exchange  # type: ignore[assignment]  # it has all that is asked of it here
        if self._direct.take(head, body, exchange.answer):
            return True
        self.cycle = before
        return False

    def _take_known(self, data: bytes) -> bool:
        """Let a whole request go the direct way whose head has been read before, byte for byte: it needs no parser."""
        if self._direct is None or not self._may_begin_direct():
            return False
        known = self._direct.known(data)
        if known is None or not self._take(*known):
            return False
        self._stop_waiting()
        return True

    def _may_begin_direct(self) -> bool:
        """Whether a request that begins now waits for no other, and may be served at all."""
        limit = self.limit_concurrency
        return (
            (self.cycle is None or self.cycle.response_complete)
            and (limit is None or (len(self.connections) < limit and len(self.tasks) < limit))
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _may_go_direct(self) -> bool:
        direct, parser = self._direct, self.parser
        return (
            direct is not None
            and self.url == direct.target
            and parser.get_method() == direct.method
            and not self.expect_100_continue
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
            and self._may_begin_direct()
        )

    def _take_held(self) -> bytearray | None:
        """What is held of a request's body, which is not held any more."""
        held, self._held = self._held, None
        if self._held_timer is not None:
            self._held_timer.cancel()
            self._held_timer = None
        return held

    def _start_held(self) -> None:
        """Start a request over ASGI after all, if one is held, with as much of its body as is there."""
        held = self._take_held()
        if held is None:
            return
        self._start()
        if held:
            super().on_body(bytes(held))

    def _start(self) -> None:
        """Start the request whose head is there over ASGI."""
        head = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the scope, and forgets these
        self.url, self.headers, self.expect_100_continue = head
        self.scope["headers"] = self.headers
        super().on_headers_complete()

    def _close_if_idle(self) -> None:
        self._idle_timer = None
        is_answered = self.cycle is None or self.cycle.response_complete
        if self._idle_since is None or self._is_in_head or self._is_in_body or not is_answered:
            return  # the next answer begins a new wait
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._idle_timer = self.loop.call_later(left_s, self._close_if_idle)
        else:
            self.transport.close()

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _stop_waiting(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Flow(FlowControl):
    """Reading is not resumed, as uvicorn does before each answer, while the connection has enough."""

    def __init__(self, transport: Transport, connection: Connection) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        """Read on, if there is nothing left to do before."""
        if not self._connection.has_enough:
            super().resume_reading()


def _has_one_head(data: bytes) -> bool:
    """Whether it can be parsed as a whole: it is little, or does not hold the ends of two heads.

    To look for one line end first is a hundred times as fast, and most bodies have none.
    """
    if len(data) <= _PIECE_BYTES or (first := data.find(b"\r")) < 0 or (end := data.find(END_OF_HEAD, first)) < 0:
        return True
    behind = end + len(END_OF_HEAD)
    return data.find(b"\r", behind) < 0 or data.find(END_OF_HEAD, behind) < 0


class _Exchange:
    """A request that went the direct way, in the place of uvicorn's RequestResponseCycle, and its answer."""

    __slots__ = ("_connection", "disconnected", "keep_alive", "response_complete")
    more_body = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.disconnected = False  # set when the client has gone
        self.keep_alive = True  # unset when the server stops
        self.response_complete = False

    @property
    def message_event(self) -> _Exchange:
        """What is set to wake an application that waits for its client; none does here."""
        return self

    def set(self) -> None:
        """Do nothing."""

    def answer(self, status: int, headers: Sequence[Header], content: bytes) -> None:
        """Write the answer in one piece, and let the connection go on."""
        connection = self._connection
        if self.disconnected or connection.transport.is_closing():
            return
        parts = [
            STATUS_LINE[status],
            *map(_FIELD, connection.server_state.default_headers),
            *map(_FIELD, headers),
            b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n",
            content,
        ]
        connection.transport.write(b"".join(parts))
        self.response_complete = True
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()
