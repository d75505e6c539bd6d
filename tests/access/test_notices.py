"""What Audit Logs says when an address asks for too much, and when something keeps search from answering."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client

from opssentinal.errors import OpsSentinalError, Overloaded, Unavailable
from opssentinal.search.client import SearchClient
from opssentinal.workspace.models import User
from tests.access.conftest import LOG, Back, browser, event_of, let_auditors_read, put


def text_of(client: Client, address: str = LOG) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def test_parameters_that_mean_nothing_are_named(back: Back, alice: User) -> None:
    """A mistyped filter would otherwise show everything as if it had been asked for."""
    client = browser(alice)
    page = text_of(client, LOG + "?actr=alice&<b>=1&range=all&actor=alice&tz=UTC")
    assert "asks for something that there is not" in page
    assert "<code>actr</code>, <code><b></code>." in page
    assert "<code><b></code>" not in client.get(LOG + "?<b>=1").content.decode()
    assert "that there is not" not in text_of(client, LOG + "?range=all&-actor=alice&q=x&from=&to_time=")


def test_a_cursor_that_is_none_begins_anew_and_says_so(back: Back, alice: User) -> None:
    """The message stands on the page that one is led to, once."""
    client = browser(alice)
    assert client.get(LOG + "?range=all&cursor=nonsense")["Location"] == LOG + "?range=all"
    assert "This is no cursor. These are the newest events" in text_of(client, LOG + "?range=all")
    assert "cursor" not in text_of(client)


@pytest.fixture
def damaged(back: Back, tmp_path: Path) -> Iterator[Back]:
    """Search over a log whose first bundle cannot be read; it holds older events than the page shows without search."""
    put(event_of(1, "old"))
    put(*(event_of(2, "inside") for _ in range(60)))
    back.stop()
    with connection.cursor() as cursor:
        cursor.execute("SELECT whos FROM ledger_bundle WHERE first_seq = 0")
        (whos,) = cursor.fetchone()
        cursor.execute("UPDATE ledger_bundle SET whos = %s WHERE first_seq = 0", [bytes(whos)[:-4]])
    made = Back(tmp_path / "search.duckdb")
    made.start()
    yield made
    made.stop()


def test_what_stops_search_is_told_to_admins(damaged: Back, alice: User, carol: User) -> None:
    """Admins read the reason, which is theirs to mend; others that search is behind. The newest events are there."""
    let_auditors_read()
    admin, auditor = browser(alice), browser(carol)
    until = time.monotonic() + 30
    while "It cannot go on" not in (page := text_of(admin)) and time.monotonic() < until:
        time.sleep(0.05)
    assert "It cannot go on" in page
    assert "inside" in page
    page = text_of(auditor)
    assert "straight from the ledger" in page
    assert "It cannot go on" not in page
    assert "inside" in page


def test_a_page_without_search_does_not_load_again_until_that_would_help(back: Back, alice: User) -> None:
    """While the index lacks the newest events and cannot go on, what somebody types into such a page stays there."""
    put(*(event_of(2, "inside") for _ in range(60)))
    client = browser(alice)
    assert "straight from the ledger" not in text_of(client)
    with connection.cursor() as cursor:
        put(event_of(3, "newest"))
        cursor.execute("SELECT max(first_seq) FROM ledger_bundle")
        ((newest,),) = cursor.fetchall()
        cursor.execute("SELECT whos FROM ledger_bundle WHERE first_seq = %s", [newest])
        ((whos,),) = cursor.fetchall()
        set_whos = "UPDATE ledger_bundle SET whos = %s WHERE first_seq = %s"
        cursor.execute(set_whos, [bytes(whos)[:-4], newest])
        until = time.monotonic() + 30
        while "straight from the ledger" not in text_of(client) and time.monotonic() < until:
            put(event_of(3, "newest"))
        assert "straight from the ledger" in text_of(client)
        for _ in range(3):
            answer = client.get(LOG + "search-state/")
            assert (answer.status_code, answer.headers.get("HX-Refresh")) == (204, None)
        cursor.execute(set_whos, [bytes(whos), newest])
    while (answer := client.get(LOG + "search-state/")).status_code == 204 and time.monotonic() < until:
        time.sleep(0.05)
    assert answer.headers["HX-Refresh"] == "true"
    assert "straight from the ledger" not in text_of(client)


@pytest.mark.parametrize(
    ("refused", "said", "loads_again"),
    [
        (Unavailable("It needs more memory.", hint="Narrow it.", code="out_of_memory"), "It needs more memory.", False),
        (Unavailable("It took too long.", code="query_timeout"), "took too long and was stopped", False),
        (Overloaded("Search is busy."), "Search does not answer right now", False),
        (Unavailable("Search failed."), "Search does not answer right now", False),
        (Unavailable("Search opens its index.", code="rebuilding"), "Search does not answer right now", True),
    ],
)
def test_a_page_loads_again_by_itself_only_where_that_may_help(
    back: Back, alice: User, monkeypatch: pytest.MonkeyPatch, refused: OpsSentinalError, said: str, loads_again: bool
) -> None:
    """What was too much for search would be so again, and somebody may be about to change it."""

    def refuse(*_: object, **__: object) -> None:
        raise refused

    monkeypatch.setattr(SearchClient, "page", refuse)
    page = text_of(browser(alice))
    assert said in page
    assert ('hx-trigger="every 3s"' in page) is loads_again


@pytest.mark.parametrize("code", ["out_of_memory", "query_timeout"])
def test_events_are_shown_where_only_counting_is_too_much(
    back: Back, alice: User, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """The page says why it has no chart."""
    put(event_of(2, "inside"))

    def refuse(*_: object, **__: object) -> None:
        raise Unavailable("That is too much.", code=code)

    monkeypatch.setattr(SearchClient, "overview", refuse)
    page = text_of(browser(alice), LOG + "?range=all")
    assert "inside" in page
    assert "Counting all that matches" in page


def test_a_damaged_part_of_the_log_is_said_to_be_one(damaged: Back, alice: User) -> None:
    """Further back, where the damage is, the page says so instead of showing what cannot be believed."""
    page = text_of(browser(alice), LOG + "?before_seq=3")
    assert "The log is damaged here" in page
    assert "fsck" in page
