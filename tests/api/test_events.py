"""Events over Django: sending (the same code as the fast path), single events, and reading in recorded order."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from opssentinal.events.catalogue import EVENT_TYPES
from opssentinal.formats import event_json
from opssentinal.ledger.reader import newest, read_event

from .conftest import Caller, put

Make = Callable[..., Caller]
EVENT = {"action": "login.success", "actor": {"type": "user", "id": "usr_7"}}


def test_sending_through_django_is_the_same_operation(caller: Make) -> None:
    """Statuses, results, binding to the key, limits and encodings are those of the fast path."""
    program = caller(tenant="acme")
    assert program.post("/events", EVENT).status_code == 201
    mixed = program.post("/events", [EVENT, {"action": "x"}, EVENT | {"tenant": "other"}])
    assert (mixed.status_code, [result["status"] for result in mixed.json_["results"]]) == (
        207,
        ["accepted", "rejected", "rejected"],
    )
    packed = gzip.compress(json.dumps(EVENT).encode())
    assert program.post("/events", packed, content_encoding="gzip").status_code == 201
    assert program.post("/events", EVENT, **{"content-type": "text/plain"}).status_code == 415
    assert program.post("/events", [EVENT] * 1001).status_code == 413
    assert program.post("/events", b" " * (5 * 1024 * 1024 + 1)).status_code == 413
    sent = [event for event in newest(20) if event.source == "billing"]
    assert [event.tenant for event in sent] == ["acme"] * 3
    assert {event.context.api_key for event in sent} == {program.token[4:12] if program.token else ""}


def test_one_event_by_seq_and_by_id(caller: Make) -> None:
    """Both names lead to the same bytes, which are those of `formats`; ids of ours and of callers alike."""
    program = caller()
    mine, theirs = put("mine")[0], put("theirs", id=uuid4())[0]
    for receipt in (mine, theirs):
        by_seq, by_id = program.get(f"/events/{receipt.seq}"), program.get(f"/events/{receipt.id}")
        assert by_seq.content == by_id.content == event_json(read_event(receipt.seq))
        assert by_seq.json_["id"] == str(receipt.id)


def test_an_id_that_two_sources_have_used(caller: Make) -> None:
    """The answer is 409 with both seqs, rather than one of the two at random."""
    id_ = uuid4()
    first, second = put("a", id=id_)[0], put("b", id=id_, source="auth")[0]
    answer = caller().get(f"/events/{id_}")
    assert (answer.status_code, answer.json_["code"]) == (409, "ambiguous_id")
    assert str(first.seq) in answer.json_["hint"] and str(second.seq) in answer.json_["hint"]


def test_a_key_bound_to_a_tenant_cannot_read_another_tenants_event(caller: Make) -> None:
    """By id, by seq and in recorded order, another tenant's event is not there, and cannot be told from one that is not."""
    id_ = uuid4()
    [mine], [theirs], [nobodys] = put("mine", tenant="acme"), put("theirs", tenant="other", id=id_), put("nobody's")
    bound = caller(tenant="acme")
    assert bound.get(f"/events/{mine.seq}").status_code == 200
    missing = bound.get("/events/424242").json_
    for path in (f"/events/{theirs.seq}", f"/events/{id_}", f"/events/{nobodys.seq}", f"/events/{nobodys.id}"):
        answer = bound.get(path)
        assert answer.status_code == 404
        assert answer.json_ | {"instance": ""} == missing | {"instance": ""}
    data = bound.get("/events?after_seq=-1").json_["data"]
    assert [event["message"] for event in data] == ["mine"]


def test_an_id_shared_with_another_tenant_shows_ones_own(caller: Make) -> None:
    """Where another tenant has used the same id, a bound key gets its own event and learns nothing of the other."""
    id_ = uuid4()
    put("mine", id=id_, tenant="acme")
    put("theirs", id=id_, tenant="other", source="auth")
    assert caller(tenant="acme").get(f"/events/{id_}").json_["message"] == "mine"


def test_reading_in_recorded_order_misses_nothing(caller: Make) -> None:
    """Going on with next_after_seq gives every event once, in order, however late it occurred, and then what is new.

    That this key began to read is among it, once.
    """
    program = caller()
    put(*map(str, range(7)))
    seen: list[Any] = []
    after, more = -1, True
    while more:
        page = program.get(f"/events?after_seq={after}&limit=3").json_
        seen += page["data"]
        after, more = page["next_after_seq"], page["has_more"]
        assert len(page["data"]) <= 3
    assert [event["seq"] for event in seen] == list(range(9))
    assert [event["message"] for event in seen[1:8]] == list(map(str, range(7)))
    assert seen[8]["action"] == "audit_log.viewed"
    idle = program.get(f"/events?after_seq={after}").json_
    assert (idle["data"], idle["next_after_seq"], idle["has_more"]) == ([], after, False)
    put("new")
    assert [event["message"] for event in program.get(f"/events?after_seq={after}").json_["data"]] == ["new"]


def test_a_bound_key_passes_over_others(caller: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request reads a bounded part of the log: an answer may be empty and yet say that there is more."""
    monkeypatch.setattr("opssentinal.api.events.SCAN_MAX", 5)
    for _ in range(6):
        put("theirs", "theirs", tenant="other")
    put("mine", tenant="acme")
    bound = caller(tenant="acme")
    after, more, seen, requests = -1, True, [], 0
    while more:
        page = bound.get(f"/events?after_seq={after}").json_
        assert page["next_after_seq"] > after
        after, more, requests = page["next_after_seq"], page["has_more"], requests + 1
        seen += [event["message"] for event in page["data"]]
    assert seen == ["mine"]
    assert requests > 1


def test_the_catalogue(caller: Make) -> None:
    """Every declared type is listed, and each example can be sent as it is."""
    program = caller()
    listed = program.get("/event-types").json_["data"]
    assert [kind["action"] for kind in listed] == list(EVENT_TYPES)
    answer = program.post("/events", [kind["example"] for kind in listed])
    assert answer.status_code == 201, answer.json_
