"""POST /api/v1/events over a real socket: what is acknowledged is in the ledger, and nothing else is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from opssentinal.apikeys import token as tokens
from opssentinal.events.model import Actor, Context
from opssentinal.ingest.gathering import Gathering
from opssentinal.ledger.fsck import fsck
from opssentinal.ledger.sequencer import Sequencer

from .conftest import Client, event, sent_events


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


def test_the_request_id_is_echoed_or_made(client: Client) -> None:
    """X-Request-Id comes back, also in a problem; one that could break a log line is replaced."""
    assert client.post(event(), X_Request_Id="req-1").headers["X-Request-Id"] == "req-1"
    answer = client.post(b"nope", X_Request_Id="req-2")
    assert (answer.headers["X-Request-Id"], answer.body["instance"]) == ("req-2", "req-2")
    made = client.post(event(), X_Request_Id="a b<script>").headers["X-Request-Id"]
    assert made.isalnum() and len(made) == 32


def test_a_full_queue_is_503_and_records_nothing(
    serve: Callable[..., int], make_token: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the queue is full the caller is told when to try again, and what waited is recorded all the same."""
    may_commit, committing, queued = threading.Event(), threading.Event(), threading.Event()
    commit, add = Sequencer._commit, Gathering.add

    def held(self: Sequencer, batch: Any) -> None:
        committing.set()
        assert may_commit.wait(20)
        commit(self, batch)

    def seen(self: Gathering, items: Any, *others: Any) -> None:
        add(self, items, *others)
        if len(items) == 3:
            queued.set()

    monkeypatch.setattr(Sequencer, "_commit", held)
    monkeypatch.setattr(Gathering, "add", seen)
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
