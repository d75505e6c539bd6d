"""One id under two keys, in one commit: ids belong to a source, and what one key sent is nothing to the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from opssentinal.apikeys import token as tokens
from opssentinal.events.model import RecordedEvent
from opssentinal.ledger.reader import bundles_after, head

from .conftest import Answer, Client, event, sent_events, together

ID = "0197c2a0-0000-7000-8000-000000000001"


def results(answers: list[Answer]) -> list[dict[str, Any]]:
    """The one result in each answer."""
    assert all(len(answer.body["results"]) == 1 for answer in answers)
    return [answer.body["results"][0] for answer in answers]


def under_the_id() -> dict[int, RecordedEvent]:
    """What is recorded under the id, by seq."""
    return {recorded.seq: recorded for recorded in sent_events() if str(recorded.id) == ID}


def test_of_two_sources_both_are_recorded(
    client: Client, make_token: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key gets the place of its own event, and later each id means that key's own: again, or in conflict with it."""
    other = Client(client.port, make_token(name="Auth", source="auth", tenant="acme"))
    ours, theirs = event(id=ID, message="of billing"), event(id=ID, message="of auth")
    answers = together(monkeypatch, client, [theirs, ours, theirs, ours], [other, client, other, client])
    assert [answer.status for answer in answers] == [201] * 4
    said = results(answers)
    assert sorted(result["status"] for result in said[::2]) == ["accepted", "duplicate"]
    assert sorted(result["status"] for result in said[1::2]) == ["accepted", "duplicate"]
    assert said[0]["seq"] == said[2]["seq"] != said[1]["seq"] == said[3]["seq"]
    assert list(bundles_after(head().size - 2))[-1].count == 2, "they shared the commit"
    recorded = under_the_id()
    assert {seq: (e.source, e.tenant, e.message, e.context.api_key) for seq, e in recorded.items()} == {
        said[0]["seq"]: ("auth", "acme", "of auth", tokens.public_id(other.token)),
        said[1]["seq"]: ("billing", None, "of billing", tokens.public_id(client.token)),
    }
    again = results([other.post(theirs), client.post(ours), other.post(ours), client.post(theirs)])
    assert [result["status"] for result in again] == ["duplicate", "duplicate", "conflict", "conflict"]
    assert [result["seq"] for result in again] == [said[0]["seq"], said[1]["seq"]] * 2
    assert under_the_id().keys() == recorded.keys()


def test_of_one_source_the_same_event_is_recorded_once(
    client: Client, make_token: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that changes its key while it sends again: one is accepted, the other its duplicate, under the key that came first."""
    fresh = Client(client.port, make_token(name="Billing, renewed"))
    said = results(together(monkeypatch, client, [event(id=ID)] * 2, [client, fresh]))
    assert sorted(result["status"] for result in said) == ["accepted", "duplicate"]
    assert said[0]["seq"] == said[1]["seq"]
    [recorded] = under_the_id().values()
    first = (client, fresh)[[result["status"] for result in said].index("accepted")]
    assert recorded.context.api_key == tokens.public_id(first.token)


@pytest.mark.parametrize("bound", [True, False], ids=["of two tenants", "of one"])
def test_of_one_source_another_event_is_a_conflict(
    client: Client, make_token: Callable[..., str], monkeypatch: pytest.MonkeyPatch, bound: bool
) -> None:
    """One is recorded, the other refused, also where only the tenant differs; it is told the place and nothing of the content."""
    tenants = ("acme-and-sons", "umbrella-corp") if bound else (None, None)
    senders = [Client(client.port, make_token(tenant=tenant)) for tenant in tenants]
    texts = ("the same", "the same") if bound else ("first-secret", "second-secret")
    bodies = [[event(id=ID, message=texts[n]), event(message=f"beside {n}")] for n in range(2)]
    answers = together(monkeypatch, client, bodies, senders)
    firsts = [answer.body["results"][0] for answer in answers]
    assert sorted(result["status"] for result in firsts) == ["accepted", "conflict"]
    assert [answer.body["results"][1]["status"] for answer in answers] == ["accepted"] * 2
    won = [result["status"] for result in firsts].index("accepted")
    assert (answers[won].status, answers[1 - won].status) == (201, 207)
    assert firsts[won]["seq"] == firsts[1 - won]["seq"]
    [recorded] = under_the_id().values()
    assert (recorded.message, recorded.tenant) == (texts[won], tenants[won])
    refused = json.dumps(answers[1 - won].body)
    assert not [word for word in (*tenants, *texts, tokens.public_id(senders[won].token)) if word and word in refused]
    assert {recorded.message for recorded in sent_events()} >= {"beside 0", "beside 1"}


def test_what_is_refused_takes_no_id(
    client: Client, make_token: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that pretends to be another source cannot occupy the id of that one, before it or beside it."""
    stranger = Client(client.port, make_token(name="Auth", source="auth"))
    forged = event(id=ID, source="billing", message="forged")
    answers = together(
        monkeypatch, client, [forged, event(id=ID, message="true"), forged], [stranger, client, stranger]
    )
    said = results(answers)
    assert [result["status"] for result in said] == ["rejected", "accepted", "rejected"]
    assert [said[n]["error"]["code"] for n in (0, 2)] == ["wrong_source"] * 2
    assert [recorded.message for recorded in under_the_id().values()] == ["true"]
