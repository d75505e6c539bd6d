"""POST /api/v1/events over a real socket: what is acknowledged is in the ledger, and nothing else is."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import zstandard
from django.utils import timezone

from opssentinal.apikeys import authentication
from opssentinal.apikeys import token as tokens
from opssentinal.apikeys.principal import EVENTS_READ
from opssentinal.apikeys.rate import RateLimit
from opssentinal.apikeys.services import revoke_key
from opssentinal.events.model import Actor, Context
from opssentinal.ledger.fsck import fsck
from opssentinal.ledger.sequencer import Sequencer

from .conftest import ALICE, Client, event, sent_events

MIB = 1024 * 1024


def test_one_event_is_acknowledged_with_its_place(client: Client) -> None:
    """A single object is answered 201 with the id and seq under which the ledger has it, bound to the key."""
    answer = client.post(event(context={"ip": "203.0.113.9"}, metadata={"plan": "pro"}))
    assert answer.status == 201
    [result] = answer.body["results"]
    [recorded] = sent_events()
    assert result == {"index": 0, "status": "accepted", "id": str(recorded.id), "seq": recorded.seq}
    assert (recorded.source, recorded.tenant, recorded.metadata) == ("billing", None, {"plan": "pro"})
    assert recorded.context == Context(ip="203.0.113.9", api_key=tokens.public_id(client.token))
    assert answer.headers["Content-Type"] == "application/json"


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


@pytest.mark.parametrize("body", [b"", b"\n\n", b"{\nnope\n"])
def test_ndjson_without_any_json_is_400(client: Client, body: bytes) -> None:
    """NDJSON of which no line is JSON is refused as a whole."""
    assert client.post(body, "application/x-ndjson").status == 400


def test_good_items_are_kept_beside_bad_ones(client: Client) -> None:
    """Each bad item is rejected with the path of its fault; the good ones around it are recorded; the status is 207."""
    answer = client.post(
        [
            event(message="first"),
            event(actor={"type": "user", "id": 7}),
            event(occurred_at="2026-01-01T00:00:00"),
            17,
            event(extra=1),
            event(message="last"),
        ]
    )
    assert answer.status == 207
    results = answer.body["results"]
    assert [result["status"] for result in results] == ["accepted", *["rejected"] * 4, "accepted"]
    assert [result["index"] for result in results] == list(range(6))
    assert results[1]["error"]["path"] == "$.actor.id"
    assert results[2]["error"]["path"] == "$.occurred_at"
    assert all(result["error"]["code"] == "invalid_event" and result["error"]["detail"] for result in results[1:5])
    assert all("id" not in result and "seq" not in result for result in results[1:5])
    assert [recorded.message for recorded in sent_events()] == ["first", "last"]


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


def test_the_same_id_again(client: Client) -> None:
    """The same event under the same id is a duplicate at its old place; another event under it is a conflict.

    Of the event that is there the answer tells the id and the seq and nothing else.
    """
    id_ = str(uuid4())
    first = client.post(event(id=id_, message="secret plan"))
    seq = first.body["results"][0]["seq"]
    again = client.post(event(id=id_, message="secret plan"))
    assert (again.status, again.body["results"]) == (
        201,
        [{"index": 0, "status": "duplicate", "id": id_, "seq": seq}],
    )
    other = client.post(event(id=id_, message="other"))
    assert other.status == 207
    [result] = other.body["results"]
    assert (result["status"], result["id"], result["seq"]) == ("conflict", id_, seq)
    assert result["error"]["path"] == "$.id"
    assert "secret" not in json.dumps(other.body)
    assert len(sent_events()) == 1


def test_duplicates_within_one_request(client: Client) -> None:
    """The second of two equal events of one request is the first one's duplicate."""
    id_ = str(uuid4())
    answer = client.post([event(id=id_), event(id=id_)])
    assert [result["status"] for result in answer.body["results"]] == ["accepted", "duplicate"]
    assert answer.status == 201


def test_two_sources_may_use_one_id(client: Client, make_token: Callable[..., str]) -> None:
    """Ids are unique per source: another program's event under the same id is its own."""
    id_ = str(uuid4())
    client.post(event(id=id_))
    other = Client(client.port, make_token(source="auth")).post(event(id=id_, message="other"))
    assert other.body["results"][0]["status"] == "accepted"
    assert [(recorded.source, recorded.id) for recorded in sent_events()] == [
        ("billing", UUID(id_)),
        ("auth", UUID(id_)),
    ]


def test_source_and_tenant_come_from_the_key(client: Client, make_token: Callable[..., str]) -> None:
    """What the body says of source or tenant may agree with the key and is rejected where it does not."""
    bound = Client(client.port, make_token(tenant="acme"))
    answer = bound.post([event(), event(source="billing", tenant="acme"), event(source="auth"), event(tenant="other")])
    assert [result["status"] for result in answer.body["results"]] == ["accepted", "accepted", "rejected", "rejected"]
    assert [answer.body["results"][n]["error"]["path"] for n in (2, 3)] == ["$.source", "$.tenant"]
    assert [(recorded.source, recorded.tenant) for recorded in sent_events()] == [("billing", "acme")] * 2
    assert client.post(event(tenant="other")).status == 201
    assert client.post(event(context={"api_key": "forged"})).body["results"][0]["error"]["path"] == "$.context.api_key"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "no_api_key"),
        ("Basic dXNlcjpwYXNz", "no_api_key"),
        ("Bearer", "no_api_key"),
        ("Bearer nonsense", "invalid_key"),
        ("Bearer " + tokens.make_token(), "invalid_key"),
    ],
)
def test_requests_without_a_valid_key_are_401(client: Client, header: str, code: str) -> None:
    """No key, another scheme, nonsense and an unknown key are 401 with WWW-Authenticate; nothing is recorded."""
    answer = client.post(event(), Authorization=header)
    assert (answer.status, answer.body["code"]) == (401, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert sent_events() == []


def test_a_revoked_key_stops_within_two_seconds(client: Client) -> None:
    """A key that another process revoked is refused 2 seconds later at the latest; one revoked here at once."""
    from opssentinal.apikeys.models import APIKey

    assert client.post(event()).status == 201
    # Another process changes the row; nothing tells this one.
    APIKey.objects.update(revoked_at=timezone.now())
    revoked = time.monotonic()
    started = revoked
    while client.post(event()).status == 201:
        assert started <= revoked + 2.0
        started = time.monotonic()
    assert client.post(event()).body["code"] == "key_revoked"


def test_a_key_revoked_in_this_process_stops_at_once(client: Client) -> None:
    """Revoking forgets what is cached."""
    assert client.post(event()).status == 201
    revoke_key(tokens.public_id(client.token), actor=ALICE, context=Context())
    assert client.post(event()).status == 401


def test_an_expired_key_is_401_also_from_the_cache(
    client: Client, make_token: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key stops at its expiry, not 2 seconds later."""
    short = Client(client.port, make_token(expires_at=timezone.now() + timedelta(hours=1)))
    assert short.post(event()).status == 201

    class InAnHour(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=1)

    monkeypatch.setattr(authentication, "CACHE_S", 3600)
    monkeypatch.setattr(authentication, "datetime", InAnHour)
    answer = short.post(event())
    assert (answer.status, answer.body["code"]) == (401, "key_expired")
    assert len(sent_events()) == 1


def test_a_key_without_the_scope_is_403(client: Client, make_token: Callable[..., str]) -> None:
    """A reading key cannot write."""
    answer = Client(client.port, make_token(scopes=[EVENTS_READ])).post(event())
    assert (answer.status, answer.body["code"]) == (403, "insufficient_scope")


def test_a_key_of_other_networks_is_403(client: Client, make_token: Callable[..., str]) -> None:
    """A key limited to networks works from there only, whatever X-Forwarded-For claims."""
    assert Client(client.port, make_token(networks=["127.0.0.0/8"])).post(event()).status == 201
    answer = Client(client.port, make_token(networks=["10.0.0.0/8"])).post(event(), X_Forwarded_For="10.1.2.3")
    assert (answer.status, answer.body["code"]) == (403, "network_not_allowed")


def test_the_request_id_is_echoed_or_made(client: Client) -> None:
    """X-Request-Id comes back, also in a problem; one that could break a log line is replaced."""
    assert client.post(event(), X_Request_Id="req-1").headers["X-Request-Id"] == "req-1"
    answer = client.post(b"nope", X_Request_Id="req-2")
    assert (answer.headers["X-Request-Id"], answer.body["instance"]) == ("req-2", "req-2")
    made = client.post(event(), X_Request_Id="a b<script>").headers["X-Request-Id"]
    assert made.isalnum() and len(made) == 32


def test_the_rate_limit(serve: Callable[..., int], make_token: Callable[..., str]) -> None:
    """A key's events a minute are limited; what is over is 429 with Retry-After; other keys have their own share."""
    limited = Client(serve(RateLimit("events", 10)), make_token())
    answer = limited.post([event() for _ in range(7)])
    assert answer.status == 201
    assert answer.headers["RateLimit-Policy"] == '"events";q=10;w=60'
    assert answer.headers["RateLimit"].startswith('"events";r=3;t=')
    refused = limited.post([event() for _ in range(7)])
    assert (refused.status, refused.body["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert len(sent_events()) == 7
    assert Client(limited.port, make_token(source="auth")).post(event()).status == 201


def test_a_full_queue_is_503_and_records_nothing(
    serve: Callable[..., int], make_token: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the queue is full the caller is told when to try again, and what waited is recorded all the same."""
    may_commit, committing, queued = threading.Event(), threading.Event(), threading.Event()
    commit, submit = Sequencer._commit, Sequencer.submit

    def held(self: Sequencer, batch: Any) -> None:
        committing.set()
        assert may_commit.wait(20)
        commit(self, batch)

    def seen(self: Sequencer, events: Any, text_bytes: int = 0) -> Any:
        receipts = submit(self, events, text_bytes)
        if len(events) == 3:
            queued.set()
        return receipts

    monkeypatch.setattr(Sequencer, "_commit", held)
    monkeypatch.setattr(Sequencer, "submit", seen)
    client = Client(serve(queue_events_max=3), make_token())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, event(message="1"))
        assert committing.wait(20)
        second = pool.submit(client.post, [event(message="2") for _ in range(3)])
        assert queued.wait(20)
        answer = client.post(event(message="over"))
        may_commit.set()
        assert (answer.status, answer.body["code"], answer.headers["Retry-After"]) == (503, "overloaded", "1")
        assert (first.result().status, second.result().status) == (201, 201)
    assert [recorded.message for recorded in sent_events()] == ["1", "2", "2", "2"]


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


def test_many_clients_at_once(client: Client) -> None:
    """Concurrent requests each get their own receipts: every seq is the place of the event that was sent for it."""

    def send(number: int) -> list[tuple[int, str]]:
        said = [f"{number}/{n}" for n in range(3)]
        answer = client.post([event(message=text) for text in said])
        return [(result["seq"], text) for result, text in zip(answer.body["results"], said, strict=True)]

    with ThreadPoolExecutor(16) as pool:
        acknowledged = [pair for pairs in pool.map(send, range(60)) for pair in pairs]
    assert sorted(acknowledged) == [(recorded.seq, recorded.message) for recorded in sent_events()]
    assert fsck().is_clean


def test_actor_type_is_the_callers(client: Client) -> None:
    """The key says which program sent an event; who did it is what the program says."""
    client.post(event(actor={"type": "service", "id": "cron"}))
    assert sent_events()[0].actor == Actor(type="service", id="cron")


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
