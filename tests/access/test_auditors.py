"""Auditors: what they see of the log where an admin allows it, the period they are kept to, and how quickly that ends."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from opssentinal.events.model import Context
from opssentinal.exports import services
from opssentinal.exports.models import Export
from opssentinal.ledger import reader
from opssentinal.query import Filter
from opssentinal.web.log import reading, views
from opssentinal.workspace.models import User
from tests.access.conftest import (
    DAY_0,
    EXPORTS,
    LOG,
    OPERATOR,
    TYPES,
    Back,
    browser,
    event_of,
    let_auditors_read,
    limit,
    put,
    recorded,
    taken,
)
from tests.exports.conftest import make_files

ALL = LOG + "?range=all"


def text_of(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, (address, response.status_code)
    return html.unescape(response.content.decode())


def shown(client: Client, address: str = ALL) -> list[str]:
    """The messages' first words of the rows that a page of the log shows, in order."""
    return re.findall(r'<a class="sentence"[^>]*>\s*(\w+)', text_of(client, address))


@pytest.fixture
def auditor(back: Back, carol: User) -> Client:
    """Carol, allowed to read what occurred on days 2, 3 and 4; there is something on each of days 0 to 6, and today."""
    let_auditors_read()
    limit(carol, 2, 5)
    put(*(event_of(day + 0.5, "inside" if 2 <= day < 5 else "outside") for day in range(7)))
    put(event_of(0, "outside", occurred_at=timezone.now()))
    return browser(carol)


def test_nobody_but_admins_until_one_allows_it(back: Back, alice: User, carol: User) -> None:
    """Off by default: an auditor is refused at every address of the log and its exports, and that is recorded."""
    client = browser(carol)
    (seq, *_) = put(event_of(1, "inside"))
    for address in (LOG, f"{LOG}{seq}/", f"{LOG}search-state/", EXPORTS):
        assert client.get(address).status_code == 403, address
    assert client.post(EXPORTS + "new/", {"format": "csv"}).status_code == 403
    assert "Audit Logs</a>" not in client.get(TYPES).content.decode()
    assert len(recorded("access.denied")) == 5
    assert recorded("audit_log.viewed") == []
    let_auditors_read()
    assert client.get(LOG).status_code == 200
    assert "Audit Logs</a>" in client.get(TYPES).content.decode()


def test_an_auditor_without_a_period_sees_everything(auditor: Client, carol: User) -> None:
    """As an admin does, but for the steps that only an admin can take."""
    limit(carol, None, None)
    assert shown(auditor, ALL + "&-source=opssentinal") == ["outside"] * 3 + ["inside"] * 3 + ["outside"] * 2
    assert "Send your first event" not in text_of(auditor, ALL)
    assert "period" not in text_of(auditor, ALL)


def test_the_period_begins_with_its_first_moment_and_ends_before_its_last(back: Back, carol: User) -> None:
    """log_from is inclusive and log_until exclusive, to the microsecond, by the time at which events occurred."""
    let_auditors_read()
    limit(carol, 2, 5)
    tick = timedelta(microseconds=1) / timedelta(days=1)
    seqs = put(event_of(2 - tick, "before"), event_of(2, "first"), event_of(5 - tick, "last"), event_of(5, "after"))
    client = browser(carol)
    assert shown(client) == ["last", "first"]
    assert [client.get(f"{LOG}{seq}/").status_code for seq in seqs] == [404, 200, 200, 404]


def test_nothing_outside_the_period_shows_on_any_page(auditor: Client) -> None:
    """Whatever can be reached by links from the log, with counts, filters, other ranges and events: nothing of outside."""
    todo, done = [LOG, ALL, TYPES, EXPORTS, LOG + "?q=message:x", LOG + "?from=2025-03-01&to=2025-03-02"], set[str]()
    while todo and len(done) < 150:
        address = todo.pop()
        if address in done:
            continue
        done.add(address)
        response = auditor.get(address)
        assert response.status_code in (200, 400), address
        page = html.unescape(response.content.decode())
        assert "outside" not in page, address
        todo += [
            link
            for link in re.findall(r'href="([^"]+)"', page)
            if urlsplit(link).path.startswith((LOG, TYPES, EXPORTS)) and link not in done
        ]
    assert len(done) > 40
    assert any(re.fullmatch(rf"{LOG}\d+/", urlsplit(address).path) for address in done)


def test_counts_are_those_of_the_period(auditor: Client) -> None:
    """Histogram, rail and event types count what the auditor may read, and the page says what that is."""
    page = text_of(auditor, ALL)
    assert re.search(r"histogram[^§]*?\b3\b", page)
    assert "You may read what occurred within a period" in page
    assert "3 Mar 2025 – 5 Mar 2025" in page
    types = text_of(auditor, TYPES)
    assert re.search(r'inside\.seen</code></a></td><td class="right">3<', types)
    assert "login.success" in types  # the catalogue is everybody's
    assert not re.search(r'type-count num">[1-9]', types)  # of what the product recorded today nothing is counted


def test_an_empty_range_tells_of_nothing_outside(auditor: Client, carol: User) -> None:
    """Today's event is outside: the page speaks of the three inside, and of none where there is none inside."""
    page = text_of(auditor, LOG)
    assert "Nothing in the last 7 days" in page
    assert "3 events between 3 Mar 2025 and 5 Mar 2025" in page
    assert "Nothing in the whole period has all of these" in text_of(auditor, LOG + "?q=source:outside")
    limit(carol, 20, 21)
    page = text_of(auditor, LOG)
    assert "Nothing in your period" in page
    assert not re.search(r"\d+ (matching )?events?\b", page)


def test_neighbours_end_with_the_period(auditor: Client) -> None:
    """From the oldest event of the period there is no older one, from the newest no newer one."""
    seqs = [event.seq for event in reader.newest(100) if event.action == "inside.seen"]
    newest, middle, oldest = sorted(seqs, reverse=True)
    for seq, newer, older in ((newest, None, middle), (middle, newest, oldest), (oldest, middle, None)):
        page = text_of(auditor, f"{LOG}{seq}/?range=all")
        assert re.findall(r'href="[^"]*/(\d+)/[^"]*" rel="prev"', page) == ([str(newer)] if newer is not None else [])
        assert re.findall(r'href="[^"]*/(\d+)/[^"]*" rel="next"', page) == ([str(older)] if older is not None else [])


def test_an_event_outside_is_one_that_is_not_there(auditor: Client) -> None:
    """By its place or its id, the answer is that for an event that never was, to the letter."""
    (seq,) = put(event_of(0.5, "outside", id=UUID(int=7)))
    missing = auditor.get(f"{LOG}999999/")
    hidden = auditor.get(f"{LOG}{seq}/")
    assert (missing.status_code, hidden.status_code) == (404, 404)
    pages = [re.sub(r'value="\w{64}"', "", page.content.decode()) for page in (hidden, missing)]
    assert pages[0].replace(str(seq), "999999") == pages[1]
    by_id, unknown = (auditor.get(f"{LOG}{UUID(int=number)}/") for number in (7, 8))
    assert (by_id.status_code, unknown.status_code) == (404, 404)
    put(event_of(3, "inside", id=UUID(int=7)))
    assert auditor.get(f"{LOG}{UUID(int=7)}/").status_code == 302  # of two events with the id, one is there to see


def test_a_pruned_event_is_not_told_from_one_that_never_was(
    auditor: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows any more when it occurred, so only those who may see everything are told that it was pruned."""
    from opssentinal.errors import NotFound

    def pruned(seq: int) -> None:
        raise NotFound(f"The text of event {seq} was pruned by the retention policy.", code="pruned")

    monkeypatch.setattr(reading.reader, "read_event", pruned)
    assert "pruned" not in auditor.get(f"{LOG}3/").content.decode()
    assert "pruned" in browser(alice).get(f"{LOG}3/").content.decode()


def test_without_search_the_period_holds_too(auditor: Client, back: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest events straight from the ledger are those of the period, page by page, however few of them there are."""
    back.stop()
    assert shown(auditor) == ["inside"] * 3
    monkeypatch.setattr(views, "PAGE_EVENTS", 2)
    page = text_of(auditor, LOG)
    assert "straight from the ledger" in page
    (older,) = re.findall(r'class="button" href="([^"]*before_seq=\d+)"', page)
    assert (shown(auditor, LOG), shown(auditor, older)) == (["inside"] * 2, ["inside"])
    assert "outside" not in text_of(auditor, older)
    monkeypatch.setattr(reading, "SCAN_MAX", 1)  # a long log is looked through in portions
    monkeypatch.setattr(reading, "_SCAN_AT_ONCE", 1)
    found, address = [], LOG
    for _ in range(40):
        found += shown(auditor, address)
        links = re.findall(r'class="button" href="([^"]*before_seq=\d+)"', text_of(auditor, address))
        if not links:
            break
        (address,) = links
    assert found == ["inside"] * 3


def test_a_cursor_is_of_one_account_and_one_period(
    auditor: Client, carol: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A further page of somebody else, or of a period that has changed since, begins anew and says so."""
    monkeypatch.setattr(views, "PAGE_EVENTS", 2)
    (more,) = re.findall(r'class="button" href="([^"]*cursor=[^"]+)"', text_of(auditor, ALL))
    assert shown(auditor, more) == ["inside"]
    assert browser(alice).get(more).status_code == 302
    limit(carol, 3, 5)
    answer = auditor.get(more)
    assert (answer.status_code, answer["Location"]) == (302, ALL)
    assert "The cursor is not one of this search" in text_of(auditor, ALL)
    rows_only = auditor.get(more, headers={"HX-Request": "true"})
    assert (rows_only.status_code, rows_only["HX-Redirect"], rows_only.content) == (200, ALL, b"")


def test_an_export_holds_the_period_and_is_its_makers_alone(auditor: Client, carol: User, alice: User) -> None:
    """Its bounds are fixed when it is asked for; others' exports are not there, an admin sees them all."""
    services.create_export(OPERATOR, Context(), services.Principal("user", str(alice.pk), is_admin=True), Filter())
    answer = auditor.post(EXPORTS + "new/", {"format": "jsonl", "tz": "UTC"})
    assert answer.status_code == 302
    make_files()
    theirs, mine = Export.objects.order_by("id")
    assert (mine.filter.after, mine.filter.before) == (DAY_0 + timedelta(days=2), DAY_0 + timedelta(days=5))
    assert (mine.rows, theirs.rows is not None and theirs.rows > 3) == (3, True)
    content = taken(auditor.get(f"{EXPORTS}{mine.public_id}/download/"))
    assert (content.count(b"inside.seen"), content.count(b"outside")) == (3, 0)
    assert auditor.get(f"{EXPORTS}{theirs.public_id}/download/").status_code == 404
    assert auditor.post(f"{EXPORTS}{theirs.public_id}/cancel/").status_code == 404
    page = text_of(auditor, EXPORTS)
    assert mine.public_id in page
    assert theirs.public_id not in page
    both = text_of(browser(alice), EXPORTS)
    assert mine.public_id in both
    assert theirs.public_id in both


def test_an_export_beyond_the_period_is_not_asked_for(auditor: Client) -> None:
    """A range that does not meet the period leads back with the reason; nothing is queued."""
    page = auditor.post(EXPORTS + "new/", {"format": "csv", "from": "2025-03-10"}, follow=True).content.decode()
    assert 'role="alert"' in page
    assert not Export.objects.exists()


def test_a_file_made_under_a_wider_period_stays(auditor: Client, carol: User) -> None:
    """Narrowed since, or an admin no longer: the export is listed as one's own, and its file is not to be had."""
    auditor.post(EXPORTS + "new/", {"format": "csv"})
    make_files()
    (mine,) = Export.objects.all()
    address = f"{EXPORTS}{mine.public_id}/"
    limit(carol, 3, 5)
    fetched = len(recorded("export.downloaded"))
    answer = auditor.get(address + "download/", follow=True)
    assert "outside of the period" in answer.content.decode()
    assert "Download CSV" not in answer.content.decode()
    assert len(recorded("export.downloaded")) == fetched
    limit(carol, 1, 6)  # wider again: what was made holds no more than that
    assert taken(auditor.get(address + "download/"))


@pytest.mark.parametrize("loss", ["role", "preference", "expiry", "deactivation", "empty period"])
def test_the_right_ends_at_the_next_request(auditor: Client, carol: User, loss: str) -> None:
    """A role, the preference, the account's time or its period: whichever ends it, the open browser reads nothing more."""
    auditor.post(EXPORTS + "new/", {"format": "csv"})
    make_files()
    (mine,) = Export.objects.all()
    (seq,) = [event.seq for event in reader.newest(100) if event.message == "inside"][:1]
    addresses = (ALL, f"{LOG}{seq}/", EXPORTS, f"{EXPORTS}{mine.public_id}/", f"{EXPORTS}{mine.public_id}/download/")
    assert [auditor.get(address).status_code for address in addresses[:-1]] == [200] * 4
    assert taken(auditor.get(addresses[-1]))
    if loss == "role":
        carol.role = "member"
    elif loss == "preference":
        let_auditors_read(False)
    elif loss == "expiry":
        carol.expires_at = timezone.now()
    elif loss == "deactivation":
        carol.is_active = False
    else:
        carol.log_from = carol.log_until
    carol.save()
    answers = [auditor.get(address) for address in addresses]
    assert all(answer.status_code in (302, 403) for answer in answers), answers
    assert all("/accounts/login/" in answer["Location"] for answer in answers if answer.status_code == 302)
