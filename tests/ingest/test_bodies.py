"""What a body may be: its forms, encodings and limits, and what is refused as a whole."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from typing import Any

import pytest
import zstandard

from .conftest import Client, event, sent_events

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ([event(message="a"), event(message="b")], "application/json"),
        ({"events": [event(message="a"), event(message="b")]}, "application/json; charset=utf-8"),
        (b"\n".join(json.dumps(event(message=m)).encode() for m in "ab"), "application/x-ndjson"),
        (b"\r\n\r\n".join(json.dumps(event(message=m)).encode() for m in "ab") + b"\r\n", "Application/X-NDJSON"),
    ],
    ids=["array", "envelope", "ndjson", "ndjson with blank lines"],
)
def test_several_events_keep_their_order(client: Client, body: Any, content_type: str) -> None:
    """Each way of sending several events records all of them, in the order of the body."""
    answer = client.post(body, content_type)
    assert answer.status == 201
    assert [result["status"] for result in answer.body["results"]] == ["accepted", "accepted"]
    assert [recorded.message for recorded in sent_events()] == ["a", "b"]


def test_metadata_with_a_key_events_is_no_envelope(client: Client) -> None:
    """Only `events` at the top makes an envelope; in an event's metadata it is content."""
    assert client.post(event(metadata={"events": [1, 2]})).status == 201
    assert sent_events()[0].metadata == {"events": [1, 2]}


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_other_content_types_are_415(client: Client, content_type: str | None) -> None:
    """Without a content type that is taken, nothing is recorded and the answer says what is."""
    answer = client.post(event(), content_type)
    assert (answer.status, answer.body["code"]) == (415, "unsupported_media_type")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "application/x-ndjson" in answer.body["hint"]
    assert sent_events() == []


def test_another_charset_is_415(client: Client) -> None:
    """JSON is UTF-8: a body that says otherwise is not guessed at."""
    assert client.post(event(), "application/json; charset=iso-8859-1").status == 415


def test_a_foreign_content_encoding_is_415(client: Client) -> None:
    """An encoding that is not taken is refused, and Accept-Encoding says which are (RFC 7694)."""
    answer = client.post(event(), Content_Encoding="br")
    assert answer.status == 415
    assert "zstd" in answer.headers["Accept-Encoding"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compressed_bodies(client: Client, encoding: str) -> None:
    """gzip and zstd bodies are unpacked, also when they are larger than what is handled on the event loop."""
    pack = gzip.compress if encoding == "gzip" else zstandard.compress
    batch = [event(message=f"{n} " + "x" * 1000) for n in range(200)]
    answer = client.post(pack(json.dumps(batch).encode()), Content_Encoding=encoding)
    assert answer.status == 201
    assert [recorded.message for recorded in sent_events()] == [sent["message"] for sent in batch]


def test_gzip_members_are_one_body(client: Client) -> None:
    """A body of several gzip members, as `cat a.gz b.gz` makes, is all of them."""
    lines = [json.dumps(event(message=m)).encode() + b"\n" for m in "ab"]
    assert (
        client.post(b"".join(map(gzip.compress, lines)), "application/x-ndjson", Content_Encoding="gzip").status == 201
    )
    assert [recorded.message for recorded in sent_events()] == ["a", "b"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_bombs_are_413(client: Client, encoding: str) -> None:
    """A small body that would unpack to more than 5 MiB is given up."""
    pack = gzip.compress if encoding == "gzip" else zstandard.compress
    answer = client.post(pack(b"[" + b" " * (200 * MIB) + b"]"), Content_Encoding=encoding)
    assert (answer.status, answer.body["code"]) == (413, "too_large")
    assert sent_events() == []


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_that_is_cut_off_records_nothing(client: Client, encoding: str) -> None:
    """Whole lines before the cut are not taken for the whole body."""
    pack = gzip.compress if encoding == "gzip" else zstandard.compress
    lines = b"".join(json.dumps(event(message=str(n))).encode() + b"\n" for n in range(50))
    answer = client.post(pack(lines)[:-9], "application/x-ndjson", Content_Encoding=encoding)
    assert (answer.status, answer.body["code"]) == (400, "malformed_encoding")
    assert sent_events() == []


def test_an_encoding_that_is_not_there_is_400(client: Client) -> None:
    """A body that is not what Content-Encoding says is refused."""
    assert client.post(event(), Content_Encoding="gzip").status == 400


def test_a_thousand_events_and_one_more(client: Client) -> None:
    """1,000 events are taken; 1,001 are refused as a whole, in every form."""
    answer = client.post([event() for _ in range(1000)])
    assert answer.status == 201
    assert [result["index"] for result in answer.body["results"]] == list(range(1000))
    more = [event() for _ in range(1001)]
    ndjson = b"\n".join(json.dumps(one).encode() for one in more)
    assert client.post(more).status == 413
    assert client.post({"events": more}).status == 413
    assert client.post(ndjson, "application/x-ndjson").body["code"] == "too_many_events"
    assert len(sent_events()) == 1000


def test_over_five_mib_is_413_before_the_body_is_sent(client: Client) -> None:
    """Content-Length alone decides: a client that asks first (Expect: 100-continue) need not send the body."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as sock:
        head = (
            "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {client.token}\r\nContent-Length: {5 * MIB + 1}\r\nExpect: 100-continue\r\n\r\n"
        )
        sock.sendall(head.encode())
        assert b" 413 " in sock.recv(4096).partition(b"\r\n")[0]


def test_chunked_bodies(client: Client) -> None:
    """A body without Content-Length is read to its end, and refused once it is over the limit."""
    for size, status in ((3, 201), (6 * MIB, 413)):
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
        text = json.dumps(event(message="x" * min(size, 4000))).encode() + b" " * size
        headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
        chunks = (text[at : at + 65536] for at in range(0, len(text), 65536))
        connection.request("POST", "/api/v1/events", chunks, headers, encode_chunked=True)
        assert connection.getresponse().status == status
        connection.close()


@pytest.mark.parametrize("body", [b"", b"   ", b"[]", b'{"events": []}', b"{", b"nope", b"\xff\xfe", b"[" * 100_000])
def test_nothing_that_could_be_an_event_is_400(client: Client, body: bytes) -> None:
    """An empty body and one that is no JSON are 400, as problem details."""
    answer = client.post(body)
    assert answer.status == 400
    assert answer.body["code"] in ("no_events", "malformed_json")
    assert {"type", "title", "status", "detail", "instance"} <= answer.body.keys()
    assert "JSON is malformed" not in answer.body["detail"]  # it says that already


@pytest.mark.parametrize("body", [b"", b"\n\n", b"{\nnope\n"])
def test_ndjson_without_any_json_is_400(client: Client, body: bytes) -> None:
    """NDJSON of which no line is JSON is refused as a whole."""
    assert client.post(body, "application/x-ndjson").status == 400


def test_a_line_that_is_no_json_is_rejected_alone(client: Client) -> None:
    """Half an event on one line and half on the next never make one; the other lines are recorded."""
    halves = b'{"action":"a.b","actor":{"type":"t","id":"i"}},{"metadata":{"x":1\n"y":2},"action":"a.b"}'
    answer = client.post(json.dumps(event(message="ok")).encode() + b"\n" + halves, "application/x-ndjson")
    assert [result["status"] for result in answer.body["results"]] == ["accepted", "rejected", "rejected"]
    assert [recorded.message for recorded in sent_events()] == ["ok"]


def test_the_envelope_holds_nothing_else(client: Client) -> None:
    """A key beside `events` is refused: it would be ignored."""
    answer = client.post({"events": [event()], "source": "other"})
    assert (answer.status, answer.body["errors"][0]["path"]) == (400, "$")


def test_half_a_body_records_nothing(client: Client) -> None:
    """A client that goes before its body is complete has sent nothing; the server goes on."""
    batch = json.dumps([event(message="whole")] * 3).encode()
    for content_type in ("application/json", "application/x-ndjson"):
        with socket.create_connection(("127.0.0.1", client.port), timeout=10) as sock:
            head = (
                f"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n"
                f"Authorization: Bearer {client.token}\r\nContent-Length: {len(batch) + 10}\r\n\r\n"
            )
            sock.sendall(head.encode() + batch)
    assert client.post(event(message="after")).status == 201
    assert [recorded.message for recorded in sent_events()] == ["after"]


@pytest.mark.parametrize("sent", [b"", b"{"], ids=["nothing of it", "half of it"])
def test_a_body_that_does_not_come_is_408(client: Client, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """A client with a valid key that announces a body and does not send it is not waited for."""
    monkeypatch.setattr("opssentinal.ingest.app.BODY_TIMEOUT_S", 0.2)
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as sock:
        head = (
            "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {client.token}\r\nContent-Length: 100\r\n\r\n"
        )
        sock.sendall(head.encode() + sent)
        assert b" 408 " in sock.recv(4096).partition(b"\r\n")[0]
    assert sent_events() == []
