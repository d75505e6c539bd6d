"""A text search whose patience ends, as the page and the API answer it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from opssentinal.apikeys.services import create_key
from opssentinal.events.model import Actor, Context
from opssentinal.search.client import SearchClient
from opssentinal.search.duckdb import scanning
from opssentinal.workspace.models import User
from tests.ledger.conftest import commit, ledger, make_event
from tests.search.conftest import client as search_client
from tests.search.conftest import config

__all__ = ["config", "ledger", "search_client"]


@pytest.fixture
def log(search_client: SearchClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two needles three hundred days apart, in a log that counts as large and is searched without any patience."""
    now = timezone.now()
    commit([make_event(n, message="a needle", occurred_at=now - timedelta(days=1 + 300 * n)) for n in range(2)])
    monkeypatch.setattr(scanning, "PORTIONS_FROM_ROWS", 0)
    monkeypatch.setattr(scanning, "PATIENCE_S", 0.0)


def test_the_page_shows_what_was_found_and_how_far_it_came(log: None) -> None:
    """One event, the time down to which was searched, and a link that in the end leads to the other."""
    User.objects.create_user("alice@example.com", "correct horse battery", name="Alice", role="admin")
    browser = Client()
    browser.force_login(User.objects.get())
    address, seen = "/insights/audit-logs/?q=needle&range=all", 0
    for _ in range(20):
        page = browser.get(address)
        assert page.status_code == 200
        seen += len(page.context["rows"])
        if not page.context.get("more_url"):
            break
        assert b"Search further back" in page.content and b"Searched back to" in page.content
        assert b"No event matches" not in page.content
        address = page.context["more_url"]
    assert seen == 2


def test_the_api_says_that_an_answer_is_partial(log: None) -> None:
    """`partial` and a cursor, until the last page has neither."""
    key = create_key(
        actor=Actor("user", "1"), context=Context(), name="reader", source="tests", scopes=["events:read"]
    ).token
    caller = Client(headers={"Authorization": f"Bearer {key}"})
    cursor, seen, partial = "", 0, []
    for _ in range(20):
        answer = json.loads(caller.get(f"/api/v1/events?q=needle{cursor}").content)
        seen += len(answer["data"])
        partial.append(answer["partial"])
        assert answer["has_more"] == (answer["next_cursor"] is not None) and answer["complete"]
        if not answer["has_more"]:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    assert seen == 2
    assert partial == [True] * (len(partial) - 1) + [False] and len(partial) > 1
