"""audit_log.viewed: whoever reads the log is in it, once for each session or key, view and ten minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from uuid import UUID

import pytest
from django.core.cache import cache
from django.db import connections

from opssentinal.events.model import Target
from opssentinal.web.log import views
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import session_reference
from opssentinal.workspace.viewing import VIEW_EVERY_S
from tests.access.conftest import (
    EXPORTS,
    LOG,
    TYPES,
    Back,
    browser,
    event_of,
    let_auditors_read,
    nothing_can_be_written,
    put,
    recorded,
)
from tests.api.conftest import Caller, caller

__all__ = ["caller"]


def viewed() -> list[str]:
    """The views that were recorded, oldest first."""
    return [str(event.metadata["view"]) for event in recorded("audit_log.viewed")]


def test_a_view_says_who_from_where_and_not_what_for(back: Back, alice: User) -> None:
    """Account, address and session; never the terms that were searched for."""
    client = browser(alice)
    client.get(LOG + "?q=actor:mallory&range=30d")
    (event,) = recorded("audit_log.viewed")
    assert event.actor is not None
    assert (event.actor.id, event.outcome) == (f"user_{alice.pk}", "success")
    assert event.targets == [Target(type="audit_log", id="audit_log", name="Audit log")]
    assert (event.context.ip, event.context.user_agent) == ("203.0.113.9", "Mozilla/5.0")
    assert event.context.session_id == session_reference(client.cookies["sessionid"].value)
    assert event.metadata == {"view": "log"}


def test_one_for_each_session_view_and_ten_minutes(back: Back, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading on adds nothing; another view, another session and another ten minutes are each recorded once."""
    (seq, *_) = put(event_of(1, "inside"))
    first, second = browser(alice), browser(alice)
    for _ in range(3):
        first.get(LOG)
        first.get(LOG + "?range=all")
        first.get(f"{LOG}{seq}/")
        first.get(TYPES)
    assert sorted(viewed()) == ["counts", "event", "log"]
    second.get(LOG)
    assert viewed().count("log") == 2
    later, steady = time.time() + VIEW_EVERY_S, time.monotonic
    monkeypatch.setattr("time.time", lambda: later)
    monkeypatch.setattr("time.monotonic", lambda: steady() + VIEW_EVERY_S)
    first.get(LOG)
    assert viewed().count("log") == 3


def test_another_process_does_not_record_it_again(back: Back, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the cache of one front does not know, the log itself tells: within ten minutes of the clock there is one."""
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    client = browser(alice)
    for _ in range(3):
        client.get(LOG)
        cache.clear()
    assert viewed() == ["log"]


def test_threads_of_one_session_record_one(back: Back, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that opens several pages at once is one view."""
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    client = browser(alice)
    cookies = client.cookies

    def look() -> None:
        try:
            one = browser()
            one.cookies = cookies
            assert one.get(LOG).status_code == 200
        finally:
            connections.close_all()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert viewed() == ["log"]


def test_a_page_does_not_show_its_own_view(back: Back, alice: User) -> None:
    """Recorded once the page is found, so that search need not wait for it; the next page has it."""
    client = browser(alice)
    assert "audit_log.viewed" not in client.get(LOG).content.decode()
    assert "audit_log.viewed" in client.get(LOG).content.decode()


def test_who_is_refused_has_viewed_nothing(back: Back, alice: User, bob: User, carol: User) -> None:
    """Strangers, members and auditors without the right: refusals, and no views; nor is what does not exist one."""
    (seq, *_) = put(event_of(1, "inside"))
    for client in (browser(), browser(bob), browser(carol)):
        for address in (LOG, f"{LOG}{seq}/", EXPORTS, TYPES):
            client.get(address)
    admin = browser(alice)
    admin.get(f"{LOG}999999/")
    admin.get(LOG + "?q=nonsense:1")
    admin.get(f"{LOG}{UUID(int=1)}/")
    assert viewed() == []
    let_auditors_read()
    browser(carol).get(TYPES)
    assert viewed() == ["counts"]


def test_without_search_it_is_recorded_too(back: Back, alice: User) -> None:
    """The events straight from the ledger are events that were read."""
    back.stop()
    browser(alice).get(LOG)
    assert viewed() == ["log"]


def test_reading_goes_on_when_nothing_can_be_written(back: Back, alice: User, caplog: pytest.LogCaptureFixture) -> None:
    """On a full disk the pages say that the look is not recorded, the server's log says why, and afterwards it is recorded."""
    (seq, *_) = put(event_of(1, "inside"))
    client = browser(alice)
    addresses = (LOG + "?range=all", f"{LOG}{seq}/", TYPES)
    with nothing_can_be_written():
        for address in addresses:
            answer = client.get(address)
            assert answer.status_code == 200
            page = answer.content.decode()
            assert "could not be recorded" in page
            assert "inside" in page
        assert sum("the disk is full" in line for line in caplog.messages) == 3
        assert client.post(EXPORTS + "new/", {"format": "csv"}).status_code == 302  # asked for, and its file waits
    assert viewed() == []
    for address in addresses:
        assert "could not be recorded" not in client.get(address).content.decode()
    assert sorted(viewed()) == ["counts", "event", "log"]


def test_a_key_that_reads_is_recorded(back: Back, caller: Callable[..., Caller]) -> None:
    """Through the API it is one for each key and view; sending events and listing types is no look at the log."""
    program = caller(name="Reader")
    program.post("/events", {"action": "a.b", "actor": {"type": "user", "id": "u"}})
    program.get("/event-types")
    assert viewed() == []
    for _ in range(2):
        assert [item["action"] for item in program.get("/events?action=a.b").json_["data"]] == ["a.b"]
        seq = program.get("/events?after_seq=0&limit=1").json_["data"][0]["seq"]
        assert program.get(f"/events/{seq}").status_code == 200
        assert program.get("/events/facets").status_code == 200
        assert program.get("/events/histogram").status_code == 200
    assert sorted(viewed()) == ["counts", "event", "log"]
    event = recorded("audit_log.viewed")[0]
    assert event.actor is not None
    assert (event.actor.type, event.actor.name) == ("api_key", "Reader")
    assert event.context.session_id is None
    caller().get("/events")
    assert viewed().count("log") == 2


def test_a_key_that_is_refused_has_viewed_nothing(back: Back, caller: Callable[..., Caller]) -> None:
    """Without the scope, and for what does not exist or cannot be asked."""
    program = caller(scopes=["events:write"])
    for path in ("/events", "/events/0", "/events/facets", "/events/histogram", "/events?after_seq=-1"):
        assert program.get(path).status_code == 403
    reader = caller()
    assert reader.get("/events/999999").status_code == 404
    assert reader.get("/events?nonsense=1").status_code == 400
    assert viewed() == []


def test_a_key_reads_on_when_nothing_can_be_written(
    back: Back, caller: Callable[..., Caller], caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is whole, and the server's log says that this look has no record."""
    put(event_of(1, "inside"))
    program = caller()
    with nothing_can_be_written():
        assert [item["source"] for item in program.get("/events?source=inside").json_["data"]] == ["inside"]
    assert any("could not be recorded" in line and "the disk is full" in line for line in caplog.messages)
    assert viewed() == []


def test_more_rows_are_no_further_view(back: Back, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going on through the pages of one search is one view."""
    monkeypatch.setattr(views, "PAGE_EVENTS", 1)
    put(*(event_of(day, "inside") for day in range(3)))
    client = browser(alice)
    page = client.get(LOG + "?range=all")
    for _ in range(2):
        page = client.get(str(page.context["more_url"]), headers={"HX-Request": "true"})
        assert page.status_code == 200
    assert viewed() == ["log"]
