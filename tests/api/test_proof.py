"""The API proves the events that it lets a key read, and those alone; the proofs hold for whoever has a root and SHA-256."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import Client

from opssentinal.events.encoding import digest_of
from opssentinal.ledger import reader
from opssentinal.ledger.fsck import fsck
from opssentinal.ledger.maintenance import as_row, insert_row
from opssentinal.ledger.pruning import prune
from opssentinal.query import parse
from opssentinal.workspace.models import User
from tests.api.conftest import BASE, Caller, put
from tests.docs.verifier import documented_verifier

MakeCaller = Callable[..., Caller]


def prune_all_but(query: str) -> None:
    prune(time.time_ns() // 1000 + 1, holds=lambda: (parse(query),))


def test_a_held_event_is_proved_under_a_root_that_was_kept(caller: MakeCaller) -> None:
    """The root printed before pruning and before the log grew is the one that the printed program leads to."""
    receipts = put(*(f"number {seq}" for seq in range(300)))
    kept = fsck()
    put("later")
    prune_all_but('"number 12"')
    program, verify = caller(), documented_verifier()
    answer = program.get(f"/events/12/proof?size={kept.size}").json_
    verify(answer, kept.size, kept.root.hex())
    assert json.loads(answer["what"])["message"] == "number 12"
    assert json.loads(answer["entry"])["id"] == str(receipts[12].id)
    assert program.get(f"/events/{receipts[12].id}/proof?size={kept.size}").json_ == answer
    head = reader.head()
    answer = program.get("/events/12/proof").json_
    assert (answer["size"], answer["root"]) == (head.size, head.root.hex())
    verify(answer, head.size, head.root.hex())
    for wrong in (answer | {"seq": 13}, answer | {"what": answer["what"].replace("12", "13")}):
        with pytest.raises(SystemExit):
            verify(wrong, head.size, head.root.hex())


def test_it_answers_as_reading_one_event_does(caller: MakeCaller) -> None:
    """Pruned, never there, of several sources, not to be understood, without the scope: the same status and code."""
    receipts = put(*(f"number {seq}" for seq in range(300)))
    twice = UUID(int=9)
    put("one", id=twice)
    put("two", id=twice, source="other")
    prune_all_but('"number 12"')
    everything, writer, other = caller(), caller(scopes=["events:write"]), caller(tenant="acme")
    for program in (everything, writer, other, Caller(None)):
        for name in ("12", "13", "299", "5000", "x", receipts[12].id, receipts[13].id, twice, UUID(int=8), "-1"):
            read, proof = program.get(f"/events/{name}"), program.get(f"/events/{name}/proof")
            assert proof.status_code == read.status_code, name
            if read.status_code != 200:
                assert [proof.json_[key] for key in ("code", "detail")] == [
                    read.json_[key] for key in ("code", "detail")
                ]
                assert "entry" not in proof.json_
    assert everything.get("/events/13/proof").json_["code"] == "pruned"
    assert everything.get(f"/events/{twice}/proof").status_code == 409


def test_a_key_of_a_tenant_has_its_own_events_proved(caller: MakeCaller) -> None:
    """Another tenant's event is not there, held or not; its own is proved in the log of all."""
    put("to be kept", tenant="acme")
    put("to be kept", *(f"other {seq}" for seq in range(300)), tenant="other")
    prune_all_but('"to be kept"')
    program, everything = caller(tenant="acme"), caller()
    head = reader.head()
    documented_verifier()(program.get("/events/0/proof").json_, head.size, head.root.hex())
    for seq in (1, 2, 290, 100_000):
        missing = program.get(f"/events/{seq}/proof")
        assert (missing.status_code, missing.json_["code"]) == (404, "not_found")
    assert everything.get("/events/1/proof").status_code == 200


def test_an_account_has_no_way_around_its_period(caller: MakeCaller) -> None:
    """The API takes keys alone: a browser of an admin or of an auditor, limited or not, reads and proves nothing here."""
    put("one")
    for role in ("admin", "auditor"):
        client = Client()
        client.force_login(User.objects.create_user(f"{role}@example.com", role=role))
        for path in ("/events/0", "/events/0/proof"):
            assert client.get(BASE + path).status_code == 401


def test_an_erased_part_is_null(caller: MakeCaller) -> None:
    """Its digest stands in the entry, and the proof holds without it."""
    put(*(f"number {seq}" for seq in range(5)))
    bundle = next(reader.read_range(0, 5))
    digest = bundle.whos[3] = digest_of(bundle.whos[3])
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_bundle")
        insert_row(cursor, as_row(bundle))
    program = caller()
    head = reader.head()
    answer = program.get("/events/3/proof").json_
    assert (answer["who"], json.loads(answer["entry"])["who"]) == (None, digest.decode())
    assert answer["what"] == bundle.whats[3].decode()
    documented_verifier()(answer, head.size, head.root.hex())
    assert program.get("/events/3").json_["erased"] == ["who"]


def test_what_does_not_hold_does_not_leave(caller: MakeCaller) -> None:
    """An event whose text was exchanged can be read, but it is not proved: an integrity error, without the text."""
    put(*(f"number {seq}" for seq in range(300)))
    prune_all_but('"number 12"')
    program = caller()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE ledger_held_event SET what = (SELECT what FROM ledger_held_event WHERE seq = 120) WHERE seq = 12"
        )
    assert program.get("/events/12").json_["message"] == "number 120"
    refused = program.get("/events/12/proof")
    assert (refused.status_code, refused.json_["code"]) == (500, "integrity_error")
    assert b"number" not in refused.content
    assert program.get("/events/120/proof").status_code == 200


def test_sizes_that_cannot_be(caller: MakeCaller) -> None:
    """Before the event, beyond the log, and no number at all; and no other parameter."""
    put(*(f"number {seq}" for seq in range(5)))
    program = caller()
    size = reader.head().size
    assert program.get(f"/events/3/proof?size={size}").status_code == 200
    assert program.get("/events/3/proof?size=4").json_["size"] == 4
    for wrong in ("3", "0", "-1", f"{size + 9}", "9" * 18, "9" * 40, "x", "4&size=5"):
        assert program.get(f"/events/3/proof?size={wrong}").status_code == 400, wrong
    assert program.get("/events/3/proof?length=4").json_["code"] == "unknown_parameter"


def test_a_proof_is_a_look_at_the_event(caller: MakeCaller) -> None:
    """Recorded as reading it is, once its answer is made; what was refused is not."""
    put("one")
    program = caller()
    before = reader.head().size
    program.get("/events/9/proof")
    assert reader.head().size == before
    assert program.get("/events/0/proof").json_["size"] == before
    (event,) = reader.newest(1)
    assert (event.action, event.metadata) == ("audit_log.viewed", {"view": "event"})
    program.get("/events/0")
    program.get("/events/0/proof")
    assert reader.head().size == before + 1
