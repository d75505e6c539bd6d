"""Insights → Incidents in the browsers of an admin, an auditor and a member."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from opssentinal.apikeys.rate import RateLimit
from opssentinal.incidents import listing, services
from opssentinal.incidents.models import Incident
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import update_preferences
from tests.incidents.conftest import ALICE, HERE, PAGE, Make, put
from tests.workspace.conftest import away, events, signed_in

BOB = "bob@example.com"
ADA = "ada@example.com"


def text(answer: Any) -> str:
    """The words of a page, as a person reads them."""
    return html.unescape(re.sub(r"<[^>]*>", " ", answer.content.decode()))


def entered(number: int = 1, **fields: object) -> dict[str, object]:
    """The edit form as the page shows it, with some fields filled in anew."""
    incident = Incident.objects.get(number=number)
    shown = {
        "status": incident.status, "severity": incident.severity, "assignee": incident.assignee_id or "",
        "title": incident.title, "description": incident.description, "version": incident.version,
    }  # fmt: skip
    return shown | fields


def test_a_member_opens_edits_and_notes_an_incident(alice: User, bob: User) -> None:
    """All of it without scripts, each step leading to the page that shows it; the log names Bob for each."""
    page = signed_in(BOB)
    assert "No incidents" in text(page.get(PAGE))
    form = {"title": "Checkout is slow", "severity": "high", "description": "Since noon.", "assignee": alice.pk}
    opened = page.post(f"{PAGE}new/", form, follow=True)
    assert opened.redirect_chain == [(f"{PAGE}1/", 302)]
    assert re.search(r"#1\s+Checkout is slow", text(opened)) and "Since noon." in text(opened)
    saved = page.post(f"{PAGE}1/edit/", entered(status="acknowledged"), follow=True)
    assert "Acknowledged" in text(saved) and "Saved." in text(saved)
    noted = page.post(f"{PAGE}1/notes/", {"note": "Rolled back."}, follow=True)
    assert "Rolled back." in text(noted)
    told = [event for event in events() if event.action.startswith("incident.")]
    assert [event.action.removeprefix("incident.") for event in told] == [
        "created", "viewed", "updated", "viewed", "updated", "viewed",
    ]  # fmt: skip
    assert {event.actor and event.actor.email for event in told} == {BOB}
    assert all(event.context.session_id and event.context.ip == "203.0.113.9" for event in told)


def test_each_opening_of_the_page_is_recorded_and_none_of_the_list(bob: User, make: Make) -> None:
    """GET and HEAD of an incident each leave a record; the list, a number that is none, and strangers leave none."""
    make()
    page = signed_in(BOB)
    for _ in range(2):
        assert page.get(f"{PAGE}1/").status_code == 200
    assert page.head(f"{PAGE}1/").status_code == 200
    assert len(events("incident.viewed")) == 3
    assert "Checkout is slow" in text(page.get(PAGE))
    for number in (0, 2, 10**30):
        assert page.get(f"{PAGE}{number}/").status_code == 404
    assert Client().get(f"{PAGE}1/").status_code == 302
    assert len(events("incident.viewed")) == 3


def test_an_incident_is_not_shown_where_that_cannot_be_recorded(bob: User, make: Make) -> None:
    """503 with a page that says why and holds no word of the incident, also where the page would come with an error."""
    make(description="Confidential")
    page = signed_in(BOB)
    wrong = entered(title="")
    with away("ledger_head"):
        answers = [
            page.get(f"{PAGE}1/"),
            page.post(f"{PAGE}1/edit/", wrong),
            page.post(f"{PAGE}1/notes/", {"note": ""}),
        ]
    for answer in answers:
        assert answer.status_code == 503
        assert "cannot be shown now" in text(answer)
        assert "Confidential" not in text(answer) and "Checkout" not in text(answer)
    assert page.get(f"{PAGE}1/").status_code == 200


def test_a_lost_update_is_refused_and_shows_both(alice: User, bob: User, make: Make) -> None:
    """Of two people who edit at once, the second is told, sees what there is now, and loses none of what they typed."""
    make()
    page = signed_in(BOB)
    form = entered(description="My long text", severity="low")
    services.update_incident(ALICE, HERE, 1, {"severity": "critical"})
    refused = page.post(f"{PAGE}1/edit/", form)
    assert refused.status_code == 409
    said = text(refused)
    assert "Your change was not saved" in said and "My long text" in said
    incident = Incident.objects.get()
    assert (incident.severity, incident.description) == ("critical", "")
    assert page.post(f"{PAGE}1/edit/", entered(description="My long text")).status_code == 302
    assert Incident.objects.get().description == "My long text"


@pytest.mark.parametrize(
    ("address", "fields", "message"),
    [
        ("new/", {"title": "", "severity": "high"}, "This field is required."),
        ("new/", {"title": "x", "severity": "terrible"}, "Select a valid choice"),
        ("new/", {"title": "a\x07b", "severity": "high"}, "without control characters"),
        ("1/edit/", {"title": ""}, "This field is required."),
        ("1/edit/", {"status": "gone"}, "Select a valid choice"),
        ("1/edit/", {"description": "x" * 5_001}, "at most 5000 characters"),
        ("1/edit/", {"version": "x"}, "This form was not complete"),
        ("1/edit/", {"assignee": "999"}, "Select a valid choice"),
        ("1/notes/", {"note": "  \n"}, "is empty"),
        ("1/notes/", {"note": "a\x07b"}, "control characters"),
    ],
)
def test_a_faulty_form_says_what_is_wrong(
    bob: User, make: Make, address: str, fields: dict[str, str], message: str
) -> None:
    """Each fault is said, and nothing changes."""
    make()
    page = signed_in(BOB)
    sent = entered() | fields if "edit" in address else fields
    answer = page.post(PAGE + address, sent)
    assert answer.status_code == 400
    assert message in text(answer)
    incident = Incident.objects.get()
    assert (incident.title, incident.version, incident.notes.count()) == ("Checkout is slow", 1, 0)


def test_the_list_filters_and_pages(alice: User, bob: User, make: Make) -> None:
    """By status with counts, severity, assignee (me, nobody, somebody) and title; older ones are a link away."""
    for number in range(listing.PER_PAGE + 2):
        make(title=f"Case {number:03}", severity="low")
    make(title="Mine 100%", assignee=bob)
    services.update_incident(ALICE, HERE, make(title="Done").number, {"status": "closed"})
    page = signed_in(BOB)

    def titles(query: str) -> list[str]:
        return re.findall(r"(?:Case \d+|Mine 100%|Done)", text(page.get(PAGE + query)))

    first = page.get(PAGE)
    assert titles("")[:3] == ["Done", "Mine 100%", "Case 051"]
    assert re.search(r"All\s+54\s+Open\s+53\s+Acknowledged\s+0\s+Resolved\s+0\s+Closed\s+1\s", text(first))
    [older] = re.findall(r'href="(\?before=\d+)" rel="next"', first.content.decode())
    assert titles(older) == ["Case 003", "Case 002", "Case 001", "Case 000"]
    assert titles("?status=closed") == ["Done"]
    assert titles("?severity=high&status=open") == ["Mine 100%"]
    assert titles(f"?assignee={bob.pk}") == ["Mine 100%"]
    assert len(titles("?assignee=0&severity=high")) == 1
    assert titles("?q=case+00") == [f"Case 00{number}" for number in range(9, -1, -1)]
    assert titles("?q=%25") == ["Mine 100%"]
    assert "No incident matches" in text(page.get(f"{PAGE}?q=nothing"))
    for nonsense in ("?status=x", "?assignee=x", "?before=x", "?q=%00", "?severity=%00", "?before=" + "9" * 40):
        assert page.get(PAGE + nonsense).status_code == 200


def test_a_log_reader_opens_an_incident_with_an_event_and_attaches_another(alice: User) -> None:
    """From an event's page to an incident and back; the event's page names its incidents."""
    first, second = put("login.failure", "access.denied")
    page = signed_in()
    shown = page.get(f"/insights/audit-logs/{first.seq}/")
    assert f"{PAGE}new/?event={first.seq}" in shown.content.decode()
    form = page.get(f"{PAGE}new/?event={first.seq}")
    assert "Mallory" in text(form)
    page.post(f"{PAGE}new/", {"title": "Mallory", "severity": "low", "event": first.seq})
    assert "Mallory" in text(page.get(f"{PAGE}attach/{second.seq}/"))
    attached = page.post(f"{PAGE}attach/{second.seq}/", {"number": 1}, follow=True)
    assert [each.seq for each in Incident.objects.get().attached.all()] == [first.seq, second.seq]
    assert f'href="/insights/audit-logs/{second.seq}/"' in attached.content.decode()
    assert "already" in text(page.post(f"{PAGE}attach/{second.seq}/", {"number": 1}, follow=True))
    assert "There is no incident #7" in text(page.post(f"{PAGE}attach/{second.seq}/", {"number": 7}))
    assert "#1 Mallory" in text(page.get(f"/insights/audit-logs/{second.seq}/"))
    third = put("a.b")[0]
    assert page.post(f"{PAGE}1/events/", {"event": str(third.id)}).status_code == 302
    for name, message in (
        ("nonsense", "neither"),
        ("999999", "There is no event"),
        (str(alice.pk) * 36, "There is no"),
    ):
        answer = page.post(f"{PAGE}1/events/", {"event": name})
        assert answer.status_code == 400, name
    assert Incident.objects.get().attached.count() == 3


def test_links_of_a_timeline_lead_to_what_they_say(alice: User, make: Make) -> None:
    """The log around the timeline, what the actor did around then, and the incident's own history."""
    [event] = put("login.failure")
    make(events=[event])
    body = html.unescape(signed_in().get(f"{PAGE}1/").content.decode())
    before, after = (event.occurred_at + timedelta(minutes=minutes) for minutes in (-15, 15))
    [around, actor] = re.findall(r'href="(/insights/audit-logs/\?from=[^"]*)"', body)
    for moment in (before, after):
        assert f"{moment:%Y-%m-%dT%H%%3A%M%%3A%S}" in around
    assert "actor=usr_666" in actor
    assert "/insights/audit-logs/?target=incident_1&range=all" in body


def test_a_member_sees_what_was_snapped_and_no_way_into_the_log(bob: User, make: Make) -> None:
    """The sentence is there without a link, nothing offers to attach, and asking all the same is refused and recorded."""
    [event] = put("login.failure")
    make(events=[event])
    page = signed_in(BOB)
    shown = page.get(f"{PAGE}1/")
    assert "Mallory" in text(shown)
    assert "/insights/audit-logs/" not in shown.content.decode()
    assert "Attach event" not in text(shown)
    assert page.get(f"{PAGE}new/?event={event.seq}").status_code == 403
    assert page.post(f"{PAGE}new/", {"title": "x", "severity": "low", "event": event.seq}).status_code == 403
    assert page.get(f"{PAGE}attach/{event.seq}/").status_code == 403
    assert page.post(f"{PAGE}1/events/", {"event": event.seq}).status_code == 403
    assert len(events("access.denied")) == 3
    assert Incident.objects.count() == 1


def test_an_auditor_attaches_and_follows_within_their_period_only(ada: User, make: Make) -> None:
    """What lies outside of the period cannot be attached, is not there to be found, and has no link on a timeline."""
    [inside] = put("login.failure")
    [outside] = put("access.denied", occurred_at=inside.occurred_at - timedelta(microseconds=1))
    make(events=[outside, inside])
    make()
    page = signed_in(ADA)
    assert page.get(f"{PAGE}attach/{inside.seq}/").status_code == 403
    update_preferences(ALICE, HERE, "security", auditors_read_log=True)
    User.objects.filter(pk=ada.pk).update(log_from=inside.occurred_at)
    shown = page.get(f"{PAGE}1/")
    assert text(shown).count("Mallory") == 2
    assert f'href="/insights/audit-logs/{inside.seq}/"' in shown.content.decode()
    assert f'href="/insights/audit-logs/{outside.seq}/"' not in shown.content.decode()
    for name in (str(outside.seq), str(outside.id)):
        assert page.post(f"{PAGE}2/events/", {"event": name}).status_code == 400
        assert page.get(f"{PAGE}new/?event={name}").status_code == 404
    assert page.get(f"{PAGE}attach/{outside.seq}/").status_code == 404
    assert not Incident.objects.get(number=2).attached.exists()
    assert page.post(f"{PAGE}2/events/", {"event": str(inside.id)}).status_code == 302


def test_a_timeline_outlives_its_events(alice: User, make: Make) -> None:
    """Where the event's text has been pruned, its sentence stays, without a link."""
    [event] = put("login.failure")
    make(events=[event])
    Incident.objects.get().attached.update(seq=10_000_000)
    shown = signed_in().get(f"{PAGE}1/")
    assert "Mallory" in text(shown) and "no longer in the log" in text(shown)
    assert "/insights/audit-logs/10000000/" not in shown.content.decode()


def test_text_is_text_and_never_markup(bob: User, make: Make) -> None:
    """Scripts and what turns the reading direction show as what they are, on every page that shows them."""
    nasty = "<script>alert(1)</script>\u202e"
    make(title=nasty, description=nasty, events=put("a.b", message=nasty))
    services.add_note(ALICE, HERE, 1, nasty)
    page = signed_in(BOB)
    for address in (PAGE, f"{PAGE}1/"):
        body = page.get(address).content.decode()
        assert "<script>alert(1)" not in body
        assert "\u202e" not in re.sub(r"(?s)<(textarea|input)[^>]*>[^<]*", "", body)
        assert "\\u202e" in body


def test_only_admins_show_an_incident_to_a_tenant(alice: User, bob: User) -> None:
    """A member's form has no tenant and a tenant that is sent along is refused; what an admin does is still no tenant's."""
    form = {"title": "Checkout is slow", "severity": "high", "tenant": "acme"}
    member = signed_in(BOB)
    assert 'name="tenant"' not in member.get(f"{PAGE}new/").content.decode()
    refused = member.post(f"{PAGE}new/", form)
    assert (refused.status_code, Incident.objects.count()) == (400, 0)
    assert "Only an admin" in text(refused)
    admin = signed_in("alice@example.com")
    assert 'name="tenant"' in admin.get(f"{PAGE}new/").content.decode()
    admin.post(f"{PAGE}new/", form, follow=True)
    assert Incident.objects.get().tenant == "acme"
    assert [event.tenant for event in events() if event.action.startswith("incident.")] == [None, None]


def test_opening_has_a_rate(bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that opens one after another is told to wait, and nothing more is opened."""
    monkeypatch.setattr(services, "OPENED", RateLimit("incidents", 2))
    member, form = signed_in(BOB), {"title": "Checkout is slow", "severity": "high"}
    assert [member.post(f"{PAGE}new/", form).status_code for _ in range(3)] == [302, 302, 429]
    assert member.post(f"{PAGE}new/", form).headers["Retry-After"] == "30"
    assert Incident.objects.count() == 2
