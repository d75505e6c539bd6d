"""What is no request, behind requests on the same connection: it is told so after their answers, and never in their place."""

from __future__ import annotations

import time
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from opssentinal import connection
from tests.ledger.conftest import commits_held

from .conftest import Wire, messages


@pytest.mark.parametrize(
    "garbage", [b"\0garbage\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"], ids=["no head", "half a head"]
)
@pytest.mark.parametrize("count", [1, 3])
def test_garbage_behind_requests_is_answered_after_them(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, count: int, garbage: bytes
) -> None:
    """Each request before has its own answer, then comes a 400, and the connection is closed; no error is logged."""
    with commits_held(monkeypatch) as committing:
        wire.send(b"".join(wire.message(f"{number}") for number in range(count)) + garbage)
        assert committing.wait(20)
        wire.send(wire.message("never"))
        assert not wire.answer_waits()
    assert [wire.answer().status for _ in range(count + 1)] == [201] * count + [400]
    assert wire.is_closed()
    assert messages() == [f"{number}" for number in range(count)]
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def test_a_body_of_garbage_behind_requests_is_answered_after_them(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that breaks off within its body is the one that is refused, not those before it."""
    with commits_held(monkeypatch) as committing:
        broken = wire.request(b"", "Transfer-Encoding: chunked", length=False) + b"no length\r\n"
        wire.send(wire.message("a") + wire.message("b") + broken)
        assert committing.wait(20)
    assert [wire.answer().status for _ in range(3)] == [201, 201, 400]
    assert wire.is_closed()
    assert messages() == ["a", "b"]


@pytest.mark.parametrize("serve", ["direct"], indirect=True)
def test_a_connection_that_is_closing_is_not_written_to(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even in the moment before it is known to be lost; what came before the end is recorded."""
    refuse = HttpToolsProtocol.send_400_response

    def end(self: Any, message: str) -> None:
        refuse(self, message)
        self.transport.abort()
        self.cycle.answer(201, [], b"")

    monkeypatch.setattr(connection.Connection, "send_400_response", end)
    wire.send(wire.message("good") + b"\0garbage\r\n\r\n")
    deadline = time.monotonic() + 20
    while messages() != ["good"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def test_thousands_of_requests_in_one_piece_wait_unparsed(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks without waiting is answered, each in its turn, and takes no more memory than what it has sent."""
    most = 0
    append = HttpToolsProtocol.on_headers_complete

    def counted(self: Any) -> None:
        nonlocal most
        append(self)
        most = max(most, len(self.pipeline))

    monkeypatch.setattr(HttpToolsProtocol, "on_headers_complete", counted)
    small, count = b"GET / HTTP/1.1\r\n\r\n", 14_000
    with commits_held(monkeypatch) as committing:
        wire.send(wire.message("first"))
        assert committing.wait(20)
        wire.send(small * count)
        wire.send(wire.message("last"))
    statuses = [wire.answer().status for _ in range(count + 2)]
    assert statuses == [201, *[401] * count, 201]
    assert 0 < most <= connection._PIECE_BYTES // len(small) + 1
    assert messages() == ["first", "last"]


def test_a_body_behind_requests_is_read_when_its_turn_comes(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a piece of it at each answer before: it waits in the client."""
    held: list[int] = []
    complete = connection.Connection.on_response_complete

    def noted(self: Any) -> None:
        complete(self)
        held.append(sum(len(cycle.body) for cycle, _ in self.pipeline) + len(self._rest))

    monkeypatch.setattr(connection.Connection, "on_response_complete", noted)
    small, count = b"GET / HTTP/1.1\r\n\r\n", 2_000
    body = b"[" + b" " * 3_000_000 + b"]"
    wire.send(small * count)
    wire.send(wire.request(body))
    assert [wire.answer().status for _ in range(count)] == [401] * count
    assert wire.answer().status in (200, 201, 400)
    assert max(held) <= 2 * 262_144
    wire.send(wire.message("taken"))
    assert wire.answer().status == 201


def test_only_what_holds_several_heads_is_cut() -> None:
    """A large body is parsed as it comes, whatever its line ends; requests in a row are not."""
    head, body = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b'{"a": 1}\n' * 2_000
    for whole in (head + body, body, head + body.replace(b"\n", b"\r\n"), body.replace(b"\n", b"\r\n"), head * 9):
        assert connection._has_one_head(whole)
    for several in (head * 500, head + body + head, body + head * 2):
        assert not connection._has_one_head(several)
