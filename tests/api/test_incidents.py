"""Incidents over the API: reading one leaves a record, changes tell before and after, and no tenant sees another's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opssentinal.apikeys.rate import RateLimit
from opssentinal.incidents import services
from opssentinal.incidents.models import Incident
from opssentinal.ledger.reader import newest, read_event
from opssentinal.workspace.models import User
from tests.workspace.conftest import away

from .conftest import Caller, put

Make = Callable[..., Caller]
SLOW: dict[str, Any] = {"title": "Checkout is slow", "severity": "high"}


def told(action: str) -> list[Any]:
    """The events of this action, oldest first."""
    return [event for event in reversed(newest(200)) if event.action == action]


def test_an_incident_is_opened_listed_and_read(caller: Make) -> None:
    """What was sent comes back, by the key; only reading it in full is recorded."""
    User.objects.create_user("bob@example.com", name="Bob")
    [receipt] = put("found this")
    program = caller()
    made = program.post(
        "/incidents", SLOW | {"description": "Since noon.", "assignee": "BOB@example.com", "events": [str(receipt.seq)]}
    )
    assert (made.status_code, made.headers["Location"]) == (201, "/api/v1/incidents/1")
    assert (made.json_["id"], made.json_["origin"], made.json_["version"]) == ("incident_1", "api", 1)
    assert made.json_["opened_by"]["type"] == "api_key"
    assert program.get("/incidents").json_["data"] == [made.json_]
    assert told("incident.viewed") == []
    detail = program.get("/incidents/1").json_
    assert {name: detail[name] for name in made.json_} == made.json_
    assert (detail["description"], detail["assignee"]["name"], detail["notes"]) == ("Since noon.", "Bob", [])
    [event] = detail["timeline"]
    assert (event["seq"], event["sentence"]) == (receipt.seq, "found this")
    [viewed] = told("incident.viewed")
    assert (viewed.targets[0].id, viewed.actor.type, viewed.context.ip) == ("incident_1", "api_key", "127.0.0.1")
    program.get("/incidents/1")
    assert len(told("incident.viewed")) == 2


def test_what_cannot_be_recorded_is_not_answered(caller: Make) -> None:
    """Where the log takes nothing, the answer is 503 and holds nothing of the incident."""
    program = caller()
    program.post("/incidents", SLOW)
    with away("ledger_head"):
        answer = program.get("/incidents/1")
    assert (answer.status_code, answer.json_["code"]) == (503, "not_recorded")
    assert "Checkout" not in answer.content.decode()
    assert program.get("/incidents/1").status_code == 200


def test_a_request_sent_again_opens_nothing(caller: Make) -> None:
    """The same Idempotency-Key and body are answered with the same incident; another body is a conflict."""
    program = caller()
    answers = [program.post("/incidents", SLOW, idempotency_key="a1") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert {answer.json_["number"] for answer in answers} == {1}
    refused = program.post("/incidents", SLOW | {"severity": "low"}, idempotency_key="a1")
    assert (refused.status_code, refused.json_["code"]) == (409, "request_key_reused")
    assert caller(name="Other").post("/incidents", SLOW, idempotency_key="a1").status_code == 201
    assert program.post("/incidents", SLOW).json_["number"] == 3
    assert len(told("incident.created")) == 3


def test_changes_tell_before_and_after(caller: Make) -> None:
    """A patch changes what it names; one made from an old version is refused."""
    program = caller()
    program.post("/incidents", SLOW)
    answer = program("PATCH", "/incidents/1", {"status": "acknowledged", "version": 1})
    assert (answer.status_code, answer.json_["status"], answer.json_["version"]) == (200, "acknowledged", 2)
    [updated] = told("incident.updated")
    assert [(c.field, c.before, c.after) for c in updated.changes] == [("status", "open", "acknowledged")]
    refused = program("PATCH", "/incidents/1", {"status": "closed", "version": 1})
    assert (refused.status_code, refused.json_["code"]) == (409, "incident_changed")
    assert program("PATCH", "/incidents/1", {"assignee": None}).status_code == 200
    for body in ({}, {"version": 2}, {"status": "gone"}, {"origin": "manual"}, {"assignee": "no@example.com"}):
        assert program("PATCH", "/incidents/1", body).status_code == 400
    assert program("PATCH", "/incidents/9", {"status": "open"}).status_code == 404
    assert len(told("incident.updated")) == 1


def test_notes_and_events_are_added(caller: Make) -> None:
    """A note is signed by the key; an event is attached by id or seq, once."""
    program = caller()
    program.post("/incidents", SLOW)
    note = program.post("/incidents/1/notes", {"text": "Rolled back."})
    assert (note.status_code, note.json_["text"], note.json_["author"]["name"]) == (201, "Rolled back.", "Billing")
    receipts = put("one", "two")
    names = [str(receipts[0].seq), str(read_event(receipts[0].seq).id), str(read_event(receipts[1].seq).id)]
    attached = program.post("/incidents/1/events", {"events": names})
    assert [event["sentence"] for event in attached.json_["data"]] == ["one", "two"]
    assert program.post("/incidents/1/events", {"events": names}).json_["data"] == []
    assert program.post("/incidents/1/events", {"events": ["99"]}).status_code == 404
    assert [event.changes[0].field for event in told("incident.updated")] == ["note", "events"]


@pytest.mark.parametrize("path", ["/incidents", "/incidents/1/events"])
def test_attaching_needs_the_right_to_read_events(caller: Make, path: str) -> None:
    """A key that may not read events puts none on a timeline, where it could read them; the refusal is recorded."""
    receipts = put("secret")
    caller().post("/incidents", SLOW)
    program = caller(scopes=["incidents:read", "incidents:write"])
    answer = program.post(path, (SLOW if path == "/incidents" else {}) | {"events": [str(receipts[0].seq)]})
    assert (answer.status_code, answer.json_["code"]) == (403, "insufficient_scope")
    assert "secret" not in answer.content.decode()
    assert [event.targets[0].id for event in told("access.denied")] == ["events:read"]
    assert Incident.objects.count() == 1
    assert not Incident.objects.get().attached.exists()


def test_no_tenant_sees_another(caller: Make) -> None:
    """A bound key opens incidents of its tenant and cannot tell one of another, or of none, from one that does not exist."""
    free, acme, other = caller(name="Free"), caller(name="Acme", tenant="acme"), caller(name="Other", tenant="other")
    free.post("/incidents", SLOW)
    assert other.post("/incidents", SLOW).json_["tenant"] == "other"
    assert acme.post("/incidents", SLOW | {"tenant": "other"}).json_["code"] == "wrong_tenant"
    mine = acme.post("/incidents", SLOW).json_
    assert (mine["number"], mine["tenant"]) == (3, "acme")
    assert [incident["number"] for incident in acme.get("/incidents").json_["data"]] == [3]
    assert [incident["number"] for incident in free.get("/incidents").json_["data"]] == [3, 2, 1]
    calls: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"title": "x"}),
        ("POST", "/notes", {"text": "x"}),
        ("POST", "/events", {"events": [str(put("x", tenant="acme")[0].seq)]}),
    ]
    for method, rest, body in calls:
        answers = [acme(method, f"/incidents/{number}{rest}", body) for number in (1, 2, 9)]
        assert [answer.status_code for answer in answers] == [404, 404, 404]
        texts = {answer.json_["detail"].replace(f"#{number}", "#") for answer, number in zip(answers, (1, 2, 9))}
        assert len(texts) == 1
    assert told("incident.viewed") == told("incident.updated") == []
    foreign = put("of nobody", tenant=None) + put("of another", tenant="other")
    for receipt in foreign:
        assert acme.post("/incidents/3/events", {"events": [str(receipt.seq)]}).status_code == 404
        assert free.post("/incidents/3/events", {"events": [str(receipt.seq)]}).status_code == 400
    assert [event.tenant for event in told("incident.created")] == [None, "other", "acme"]


def test_pages_and_filters(caller: Make) -> None:
    """Cursors walk the list once, newest first; filters narrow it; what is not understood is refused."""
    program = caller()
    for number in range(5):
        program.post("/incidents", SLOW | {"title": f"Case {number}", "severity": "low" if number % 2 else "high"})
    titles: list[str] = []
    cursor = ""
    while True:
        page = program.get(f"/incidents?limit=2{cursor}").json_
        titles += [incident["title"] for incident in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert titles == ["Case 4", "Case 3", "Case 2", "Case 1", "Case 0"]
    program("PATCH", "/incidents/1", {"status": "closed"})
    for query, numbers in (("severity=low", [4, 2]), ("status=closed", [1]), ("q=case%204", [5]), ("q=%25", [])):
        assert [incident["number"] for incident in program.get(f"/incidents?{query}").json_["data"]] == numbers
    for query in ("status=gone", "state=open", "cursor=x", "limit=0", "cursor=99999999999", "q=%00"):
        assert program.get(f"/incidents?{query}").status_code == 400


def test_addresses_that_are_none(caller: Make) -> None:
    """Anything but the number of an incident is not found."""
    program = caller()
    for number in ("0", "1", "incident_1", "-1", "1.0", "99999999999999999999", "²"):
        assert program.get(f"/incidents/{number}").status_code == 404


def test_a_tenants_key_does_not_learn_who_has_an_account(caller: Make) -> None:
    """Setting an assignee is refused in one way, whether the address is an account's or not; a free key may."""
    User.objects.create_user("bob@example.com", name="Bob")
    acme = caller(name="Acme", tenant="acme")
    acme.post("/incidents", SLOW)
    emails = ("bob@example.com", "nobody@example.com")
    answers = [acme.post("/incidents", SLOW | {"assignee": email}) for email in emails]
    answers += [acme("PATCH", "/incidents/1", {"assignee": email}) for email in (*emails, None)]
    assert {(answer.status_code, answer.json_["detail"]) for answer in answers} == {
        (403, "A key that is bound to a tenant cannot choose an assignee.")
    }
    assert Incident.objects.get().assignee is None
    assert caller(name="Free")("PATCH", "/incidents/1", {"assignee": "bob@example.com"}).status_code == 200


def test_opening_has_a_rate(caller: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that opens one incident after another is told to wait; another key is not."""
    monkeypatch.setattr(services, "OPENED", RateLimit("incidents", 2))
    program = caller(name="Loop")
    answers = [program.post("/incidents", SLOW) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert answers[2].headers["Retry-After"] == "30"
    assert caller(name="Other").post("/incidents", SLOW).status_code == 201
