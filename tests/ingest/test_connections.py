"""Requests as they come over a socket, in pieces, together or by halves: each is answered once, in order, or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from opssentinal import connection, direct
from opssentinal.apikeys import authentication
from opssentinal.apikeys import token as tokens
from opssentinal.apikeys.services import revoke_key
from opssentinal.direct import Direct
from opssentinal.events.model import Context
from opssentinal.ingest.app import IngestApp
from opssentinal.ledger.sequencer import Sequencer
from tests.ledger.conftest import commits_held

from .conftest import ALICE, Client, Wire, event, messages, sent_events


def test_one_connection_serves_many_requests(wire: Wire) -> None:
    """A connection stays open, and every answer has the headers that the documents promise."""
    for number in range(3):
        wire.send(wire.message(str(number), f"X-Request-Id: r{number}"))
        answer = wire.answer()
        assert (answer.status, answer.headers["x-request-id"]) == (201, f"r{number}")
        assert {"date", "ratelimit", "ratelimit-policy", "content-type"} <= answer.headers.keys()
        assert "connection" not in answer.headers
    assert messages() == ["0", "1", "2"]


@pytest.mark.parametrize("serve", ["direct"], indirect=True)
def test_a_small_request_needs_no_asgi(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose key is known goes the direct way, be its head and body sent together or apart."""
    monkeypatch.setattr(authentication, "CACHE_S", 60)
    assert client.post(event(message="first")).status == 201
    wire = Wire(client)

    async def refuse(*_: Any) -> None:
        raise AssertionError("this went over ASGI")

    monkeypatch.setattr(IngestApp, "__call__", refuse)
    wire.send(wire.message("together"))
    assert wire.answer().status == 201
    head, _, body = wire.message("apart").partition(b"\r\n\r\n")
    wire.send(head + b"\r\n\r\n")
    time.sleep(0.05)
    wire.send(body)
    assert wire.answer().status == 201
    wire.close()
    assert messages() == ["together", "apart"]


@pytest.mark.parametrize("serve", ["direct"], indirect=True)
def test_a_head_that_is_known_needs_no_parser(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same head again, with a body of the length that it says, is not read again; any other is."""
    monkeypatch.setattr(authentication, "CACHE_S", 60)
    assert client.post(event(message="first")).status == 201
    wire, other = Wire(client), Wire(client)
    wire.send(wire.message("1"))
    assert wire.answer().status == 201
    parsed: list[bytes] = []
    parse = HttpToolsProtocol.data_received

    def seen(self: HttpToolsProtocol, data: bytes) -> None:
        parsed.append(data)
        parse(self, data)

    monkeypatch.setattr(HttpToolsProtocol, "data_received", seen)
    for each, text in ((wire, "2"), (other, "3"), (wire, "4")):  # on any connection, be it its first request
        each.send(each.message(text))
        assert each.answer().status == 201
    assert parsed == []
    known = wire.message("5")
    split = len(known) - 5
    unlike = [
        [wire.message("longer")],
        [wire.message("6") + wire.message("7")],
        [known[:split], known[split:]],
        [b"\r\n" + wire.message("8")],
    ]
    for pieces in unlike:
        before = len(parsed)
        for piece in pieces:
            wire.send(piece)
            time.sleep(0.05)
        assert [wire.answer().status for _ in range(b"".join(pieces).count(b"POST"))][-1] == 201
        assert len(parsed) == before + len(pieces)
    for each in (wire, other):
        each.close()
    assert messages() == ["1", "2", "3", "4", "longer", "6", "7", "5", "8"]


def test_a_key_that_ended_is_refused_though_its_head_is_known(
    client: Client, wire: Wire, make_token: Callable[..., str]
) -> None:
    """What is known of a head says nothing about its key: a revoked one is refused on the next request."""
    wire.send(wire.message("1"))
    assert wire.answer().status == 201
    revoke_key(tokens.public_id(client.token), actor=ALICE, context=Context())
    wire.send(wire.message("2"))
    assert wire.answer().status == 401
    wire.token = make_token()
    wire.send(wire.message("3"))
    assert wire.answer().status == 201
    assert messages() == ["1", "3"]


@pytest.mark.parametrize("serve", ["direct"], indirect=True)
def test_known_heads_are_bounded(client: Client, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many heads are kept and none that is long; who has another one is served all the same."""
    monkeypatch.setattr(direct, "_KNOWN_HEADS_MAX", 3)
    monkeypatch.setattr(direct, "_KNOWN_HEAD_BYTES_MAX", 400)
    kept: dict[bytes, Any] = {}
    monkeypatch.setattr(Direct, "known_heads", kept)
    for number in range(9):
        wire.send(wire.message("n", f"X-N: {number}", f"X-Pad: {'p' * (300 if number == 8 else 1)}"))
        assert wire.answer().status == 201
        assert len(kept) == (2 if number == 8 else number % 3 + 1)
    count = len(kept)
    wire.send(wire.request(b"nope", "X-N: refused"))
    assert wire.answer().status == 400
    assert len(kept) == count
    assert messages() == ["n"] * 9


def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    """Requests sent without waiting are answered one after the other, good and bad ones alike."""
    wire.send(b"".join([wire.message("a"), wire.request(b"nope"), wire.message("b"), wire.message("c")]))
    assert [wire.answer().status for _ in range(4)] == [201, 400, 201, 201]
    assert messages() == ["a", "b", "c"]


def test_pieces_of_any_size(wire: Wire) -> None:
    """A request that comes byte by byte, and one whose body comes in chunks, is a request like others."""
    for byte in wire.message("bytes"):
        wire.send(bytes((byte,)))
    assert wire.answer().status == 201
    body = json.dumps(event(message="chunks")).encode()
    wire.send(wire.request(b"", "Transfer-Encoding: chunked", length=False))
    for part in (body[:7], body[7:20], body[20:]):
        wire.send(b"%x\r\n%b\r\n" % (len(part), part))
    wire.send(b"0\r\n\r\n")
    assert wire.answer().status == 201
    assert messages() == ["bytes", "chunks"]


def test_a_body_that_takes_its_time(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body may take much longer than its head, and the connection goes on after it."""
    monkeypatch.setattr(connection, "HELD_S", 0.02)
    data = wire.message("slow")
    wire.send(data[:-30])
    time.sleep(0.2)
    wire.send(data[-30:-10])
    time.sleep(0.05)
    wire.send(data[-10:] + wire.message("next"))
    assert [wire.answer().status for _ in range(2)] == [201, 201]
    assert messages() == ["slow", "next"]


def test_a_large_body(wire: Wire) -> None:
    """A body beyond what is decoded at once, and of many reads, is recorded; one over the limit is refused."""
    many = [event(message="x" * 500) for _ in range(800)]
    wire.send(wire.request(json.dumps(many).encode()))
    answer = wire.answer()
    assert (answer.status, len(answer.body["results"])) == (201, 800)
    wire.send(wire.message("small"))
    assert wire.answer().status == 201
    wire.send(wire.request(b"", "Content-Length: 9999999", length=False) + b"x" * 100_000)
    assert wire.answer().status == 413


def test_clients_that_want_the_connection_closed(client: Client, wire: Wire) -> None:
    """HTTP/1.0 and `Connection: close` get their answer and then the end; what follows is not looked at."""
    for headers, version in (((), "1.0"), (("Connection: close",), "1.1")):
        other = Wire(client)
        other.send(other.message("last", *headers, version=version) + other.message("beyond"))
        answer = other.answer()
        assert (answer.status, answer.headers["connection"]) == (201, "close")
        assert other.is_closed()
        other.close()
    assert messages() == ["last", "last"]


def test_a_client_that_waits_to_be_asked_for_its_body(wire: Wire) -> None:
    """`Expect: 100-continue` is answered before the body is sent, and a body that is announced too large is not asked for."""
    body = json.dumps(event(message="asked")).encode()
    wire.send(wire.request(b"", f"Content-Length: {len(body)}", "Expect: 100-continue", length=False))
    assert wire.answer().status == 100
    wire.send(body)
    assert wire.answer().status == 201
    wire.send(wire.request(b"", "Content-Length: 9999999", "Expect: 100-continue", length=False))
    assert wire.answer().status == 413


def test_half_a_body_is_no_body(client: Client, wire: Wire) -> None:
    """A client that goes before it has sent all leaves nothing behind, and its connection is forgotten."""
    data = wire.message("half")
    wire.send(data[:-1])
    time.sleep(0.05)
    wire.close()
    assert client.post(event(message="others")).status == 201
    assert messages() == ["others"]


def test_a_client_that_does_not_wait(client: Client, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent whole is recorded though nobody takes the answer, and the others get theirs."""
    with commits_held(monkeypatch) as committing:
        wire.send(wire.message("gone"))
        assert committing.wait(20)
        wire.close()
        other = Wire(client)
        other.send(other.message("there"))
        time.sleep(0.1)
    assert other.answer().status == 201
    other.close()
    assert messages() == ["gone", "there"]


def test_the_server_stops_after_its_answers(
    client: Client, wire: Wire, servers: list[uvicorn.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a stop, whoever waits for a commit or is still sending gets an answer, and then the end of the connection."""
    half = Wire(client)
    data = half.message("half")
    half.send(data[:-10])
    with commits_held(monkeypatch) as committing:
        wire.send(wire.message("waits"))
        assert committing.wait(20)
        servers[0].should_exit = True
        time.sleep(0.4)  # longer than the server looks away
        half.send(data[-10:])
    for open_ in (wire, half):
        answer = open_.answer()
        assert (answer.status, answer.headers["connection"]) == (201, "close")
        assert open_.is_closed()
    half.close()
    assert messages() == ["waits", "half"]


def test_too_many_connections(serve: Callable[..., int], make_token: Callable[..., str]) -> None:
    """While more are open than may be, a request gets 503, and the next is served once they are gone."""
    client = Client(serve(connections_max=3), make_token())
    first = Wire(client)
    first.send(first.message("1"))
    assert first.answer().status == 201
    others = [Wire(client), Wire(client)]
    time.sleep(0.1)
    first.send(first.message("2"))
    assert first.answer().status == 503
    assert first.is_closed()
    for other in (first, *others):
        other.close()
    deadline, status = time.monotonic() + 20, 503
    while status == 503:
        assert time.monotonic() < deadline
        again = Wire(client)
        again.send(again.message("3"))
        status = again.answer().status
        again.close()
    assert status == 201


def test_a_fault_of_ours_is_500(wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw is logged under the request's id and told without its reason, and the connection goes on."""

    def fail(*_: Any) -> None:
        raise RuntimeError("a secret of the inside")

    with monkeypatch.context() as patch:
        patch.setattr(Sequencer, "submit", fail)
        wire.send(wire.message("lost", "X-Request-Id: r500"))
        answer = wire.answer()
    assert (answer.status, answer.body["instance"]) == (500, "r500")
    assert "secret" not in json.dumps(answer.body)
    assert "Request r500 failed" in caplog.text and "a secret of the inside" in caplog.text
    wire.send(wire.message("found"))
    assert wire.answer().status == 201
    assert messages() == ["found"]


def test_fields_of_a_trailer_are_nothing(wire: Wire) -> None:
    """What comes after the body decides nothing: neither who sends, nor what the body is."""
    body = json.dumps(event(message="chunked")).encode()
    chunked = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    trailer = (
        b"Authorization: Bearer nobody\r\nContent-Type: text/plain\r\nContent-Encoding: br\r\nX-Request-Id: t\r\n\r\n"
    )
    head = wire.request(b"", "Transfer-Encoding: chunked", "X-Request-Id: h", length=False)
    for pieces in ([head + chunked + trailer], [head, chunked, trailer]):
        for piece in pieces:
            wire.send(piece)
            time.sleep(0.05)
        answer = wire.answer()
        assert (answer.status, answer.headers["x-request-id"]) == (201, "h")
    assert messages() == ["chunked", "chunked"]


def test_a_trailer_opens_no_door(wire: Wire) -> None:
    """A request without a key does not get one from its trailer."""
    body = json.dumps(event()).encode()
    token, wire.token = wire.token, "nobody"
    head = wire.request(b"", "Transfer-Encoding: chunked", length=False)
    wire.send(head + b"%x\r\n%b\r\n0\r\nAuthorization: Bearer %b\r\n\r\n" % (len(body), body, token.encode()))
    assert wire.answer().status == 401
    assert messages() == []


@pytest.mark.parametrize("filler", [b"x: " + b"y" * 1_000 + b"\r\n", b"z" * 1_000], ids=["fields", "one field"])
@pytest.mark.parametrize("is_known", [True, False], ids=["with a key", "without"])
def test_a_trailer_without_end_is_refused(wire: Wire, filler: bytes, is_known: bool) -> None:
    """It is given up soon after 64 KiB, whether or not the key is good."""
    wire.token = wire.token if is_known else "nobody"
    wire.send(wire.request(b"", "Transfer-Encoding: chunked", length=False) + b"2\r\n[]\r\n0\r\nx: y\r\na")
    sent = 0
    with pytest.raises(OSError):
        while sent < 8 << 20:
            wire.send(filler * 20)
            sent += 20 * len(filler)
    assert sent < 8 << 20


def test_many_refusals_are_that_many_answers(wire: Wire) -> None:
    """Requests that are refused at once leave the connection as it was, however many bytes they were in all."""
    wrong = b'[{"action": 1, "pad": "%b"}' % (b"x" * 15_000)  # no end
    for _ in range(12):
        wire.send(wire.request(wrong))
        assert (wire.answer().status, wire.answer_waits()) == (400, False)
    token, wire.token = wire.token, "nobody"
    for _ in range(400):
        wire.send(wire.message("refused"))
    assert [wire.answer().status for _ in range(400)] == [401] * 400
    wire.token = token
    wire.send(wire.message("taken"))
    assert wire.answer().status == 201
    assert messages() == ["taken"]


def test_a_connection_waits_after_a_refusal_as_after_a_success(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short time for a head begins with its first byte, not with the answer before."""
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.3)
    for _ in range(2):
        wire.send(wire.request(b"["))
        assert wire.answer().status == 400
        time.sleep(0.8)
    wire.send(wire.message("taken"))
    assert wire.answer().status == 201


def test_a_connection_with_work_is_not_idle(
    wire: Wire, client: Client, monkeypatch: pytest.MonkeyPatch, servers: list[uvicorn.Server]
) -> None:
    """The time without requests that closes a connection does not run while one is worked on or still coming."""
    servers[0].config.timeout_keep_alive = 1
    busy, slow = Wire(client), Wire(client)
    data = slow.message("slow")
    with commits_held(monkeypatch) as committing:
        busy.send(busy.request(b"nope") + busy.message("busy"))
        slow.send(slow.request(b"nope") + data[:-10])
        assert (busy.answer().status, slow.answer().status) == (400, 400)
        assert committing.wait(20)
        time.sleep(1.5)
    assert busy.answer().status == 201
    slow.send(data[-10:])
    assert slow.answer().status == 201
    for each in (busy, slow):
        each.close()


@pytest.mark.parametrize("serve", ["direct"], indirect=True)
def test_small_bodies_are_bounded_together_too(client: Client, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that wait for a commit, whose clients may have gone."""
    monkeypatch.setattr("opssentinal.ingest.app.BODIES_BYTES_MAX", 1_000)
    others = [Wire(client) for _ in range(4)]
    with commits_held(monkeypatch) as committing:
        wire.send(wire.message("1"))
        assert committing.wait(20)
        for number, other in enumerate(others):
            other.send(other.message(f"{number}" + "x" * 300))
        time.sleep(0.3)
    statuses = [other.answer().status for other in others]
    assert sorted(statuses) == [201, 201, 503, 503]
    assert wire.answer().status == 201
    wire.send(wire.message("y" * 500))
    assert wire.answer().status == 201
    for other in others:
        other.close()


def test_bodies_are_bounded_together(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on its way in all has a bound, beyond which callers come later; it is free again after each answer."""
    batch = [event(message="x" * 1_000) for _ in range(30)]
    monkeypatch.setattr("opssentinal.ingest.app.BODIES_BYTES_MAX", 20_000)
    for _ in range(3):
        answer = client.post(batch)
        assert (answer.status, answer.body["code"], answer.headers["Retry-After"]) == (503, "overloaded", "1")
        assert client.post([event(message="y" * 1_000) for _ in range(17)]).status == 201
    assert len(sent_events()) == 51
