"""Requests that share a commit: each is answered as if it had come alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from opssentinal.apikeys.principal import EVENTS_WRITE, KeyPrincipal
from opssentinal.apikeys.rate import RateLimit
from opssentinal.ingest import gathering
from opssentinal.ingest.body import split
from opssentinal.ingest.gathering import Gathering, Outcome
from opssentinal.ledger.reader import bundles_after, head
from opssentinal.ledger.sequencer import Sequencer
from tests.ledger.conftest import commits_held

from .conftest import Client, event, sent_events, together


def test_they_share_a_commit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes while a commit is under way shares the next one, and gets the place of its own events."""
    bodies = [event(message="a"), [event(message="b"), event(message="c")], event(message="d")]
    begin = head().size
    answers = together(monkeypatch, client, bodies)
    assert [answer.status for answer in answers] == [201, 201, 201]
    assert [bundle.count for bundle in bundles_after(begin)] == [1, 1, 4]
    recorded = {recorded.seq: recorded.message for recorded in sent_events()}
    told = [[recorded[result["seq"]] for result in answer.body["results"]] for answer in answers]
    assert told == [["a"], ["b", "c"], ["d"]]


def test_who_was_answered_is_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others wait, those of the group before come along again; one who comes alone waits for nobody."""
    monkeypatch.setattr(gathering, "_PATIENCE_S", 3)
    begin, started = head().size, time.monotonic()
    for _ in range(3):
        client.post(event(message="alone"))
    assert time.monotonic() - started < 3
    with ThreadPoolExecutor(2) as pool:
        with commits_held(monkeypatch) as committing:
            first = pool.submit(client.post, event(message="first"))
            assert committing.wait(20)
            second = pool.submit(client.post, event(message="second"))
            time.sleep(0.3)  # until it is there
        assert first.result().status == 201
        assert client.post(event(message="again")).status == 201
        assert second.result().status == 201
    assert [bundle.count for bundle in bundles_after(begin)] == [1, 1, 1, 1, 2]
    assert [recorded.message for recorded in sent_events()][-2:] == ["second", "again"]


def test_a_group_has_bounds_in_bytes(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decoded in one go on the loop is short, also where each request is large."""
    monkeypatch.setattr(gathering, "_GROUP_BYTES_MAX", 5_000)
    begin = head().size
    bodies = [event(message=f"{n}" + "x" * 2_000) for n in range(5)]
    assert [answer.status for answer in together(monkeypatch, client, bodies)] == [201] * 5
    assert [bundle.count for bundle in bundles_after(begin)] == [1, 1, 2, 2, 1]


def test_all_is_recorded_before_an_end(log: None) -> None:
    """Requests that were sent whole are recorded at a stop, though their clients may have gone."""
    sequencer = Sequencer()
    key = KeyPrincipal("ak_1", "billing", "billing", None, frozenset((EVENTS_WRITE,)))
    outcomes: list[Outcome] = []

    async def stop() -> None:
        waiting = Gathering(sequencer)
        for number in range(1_000):
            body = json.dumps(event(message=f"{number}")).encode()
            waiting.add(split(body, "application/json", ""), key, len(body), outcomes.append)
        draining = asyncio.create_task(waiting.drain())
        await asyncio.sleep(0.05)
        assert not outcomes
        sequencer.start()
        await draining
        sequencer.stop()

    with ThreadPoolExecutor(1) as thread:  # this one may have a loop, a browser's
        thread.submit(lambda: asyncio.run(stop())).result()
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)
    assert [recorded.message for recorded in sent_events()] == [f"{number}" for number in range(1_000)]


def test_nobody_waits_for_long(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was answered and does not come again is missed for a moment only."""
    assert together(monkeypatch, client, [event(message="second")])[0].status == 201
    assert [recorded.message for recorded in sent_events()][-2:] == ["first", "second"]


def test_what_is_wrong_in_one_is_nothing_to_the_others(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of texts that would fit together are refused each by itself, and good events beside them are recorded."""
    good = json.dumps(event(message="good")).encode()
    bodies: list[Any] = [
        good + b',{"action":"',  # would open a string that the next one ends
        b'{"," :"a.b"}',
        [event(message="kept"), event(action="WRONG")],
        event(extra=1),
        event(message="last"),
    ]
    begin = head().size
    client.post(event(message="looks the key up"))
    with ThreadPoolExecutor(6) as pool:
        with commits_held(monkeypatch) as committing:
            first = pool.submit(client.post, event(message="first"))
            assert committing.wait(20)
            others = [pool.submit(client.post, body) for body in bodies]
            assert others[0].result().status == 400  # at once: it is no JSON
        assert first.result().status == 201
        answers = [other.result() for other in others]
    assert [answer.status for answer in answers] == [400, 207, 207, 207, 201]
    assert [result["status"] for result in answers[2].body["results"]] == ["accepted", "rejected"]
    assert head().size == begin + 4
    assert {recorded.message for recorded in sent_events()} == {"looks the key up", "first", "kept", "last"}


def test_the_same_id_in_two_of_them(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is accepted, and its repetition beside it is a duplicate of it."""
    said = event(id="0197c2a0-0000-7000-8000-000000000001")
    results = [answer.body["results"][0] for answer in together(monkeypatch, client, [said, said])]
    assert sorted(result["status"] for result in results) == ["accepted", "duplicate"]
    assert results[0]["seq"] == results[1]["seq"]


def test_a_fault_of_ours_is_told_to_each(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is left without an answer, and whoever comes after is served."""

    def fail(*_: Any) -> None:
        raise RuntimeError("a secret of the inside")

    client.post(event(message="looks the key up"))
    with monkeypatch.context() as patch:
        patch.setattr(gathering, "Submission", fail)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(client.post, [event()] * 4))
    assert [answer.status for answer in answers] == [500] * 4
    assert "secret" not in json.dumps([answer.body for answer in answers])
    assert client.post(event(message="after")).status == 201
    assert [recorded.message for recorded in sent_events()] == ["looks the key up", "after"]


def test_a_group_has_an_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a group may hold goes in the next ones, the oldest first, and a request is never parted."""
    monkeypatch.setattr(gathering, "_GROUP_ITEMS_MAX", 4)
    begin = head().size
    answers = together(monkeypatch, client, [[event(message=f"{n}") for _ in range(3)] for n in range(4)])
    assert [answer.status for answer in answers] == [201] * 4
    assert [bundle.count for bundle in bundles_after(begin)] == [1, 1, 3, 3, 3, 3]
    messages = [recorded.message for recorded in sent_events()][2:]
    assert [messages[at : at + 3] for at in range(0, 12, 3)] == [[message] * 3 for message in messages[::3]]


@pytest.mark.parametrize("serve", ["direct"], indirect=True)
def test_who_is_over_its_share_is_not_gathered(serve: Callable[..., int], make_token: Callable[..., str]) -> None:
    """A refusal of one request leaves the share as it was for the next."""
    client = Client(serve(RateLimit("events", 5)), make_token())
    assert client.post([event()] * 3).status == 201
    assert client.post([event()] * 3).status == 429
    assert client.post([event()] * 2).status == 201
    assert len(sent_events()) == 5
