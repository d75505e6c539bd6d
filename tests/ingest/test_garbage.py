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
