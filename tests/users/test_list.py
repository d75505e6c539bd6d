"""The list: who has an account, in which state, and when they were last seen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from opssentinal.users.listing import find_accounts, last_seen
from opssentinal.workspace.models import User
from tests.users.conftest import LIST
from tests.workspace.conftest import signed_in

LONG_AGO = timezone.now() - timedelta(days=400)
STATES = {
    "active": {},
    "active too": {"password": "!single sign-on", "last_login": LONG_AGO},
    "active for now": {"expires_at": timezone.now() + timedelta(days=1)},
    "invited": {"password": "!"},
    "expired": {"expires_at": LONG_AGO},
    "expired before coming": {"expires_at": LONG_AGO, "password": "!"},
    "deactivated": {"is_active": False},
    "deactivated and expired": {"is_active": False, "expires_at": LONG_AGO, "password": "!"},
}


@pytest.fixture
def everybody(alice: User) -> None:
    """One account in each way there is to be in a state, and Alice."""
    for at, (name, fields) in enumerate(STATES.items()):
        user = User.objects.create_user(f"user{at}@example.com", "x", name=name, role=("member", "auditor")[at % 2])
        User.objects.filter(pk=user.pk).update(**fields)


def names(**wanted: str) -> list[str]:
    return [user.name for user in find_accounts(**wanted)]


def rows(page: Any) -> int:
    return str(page.content.decode()).count(f'<a href="{LIST}') - 1  # one is the button to invite


@pytest.mark.usefixtures("everybody")
def test_everybody_is_in_one_state() -> None:
    """The four states divide the accounts, each by what is true of it."""
    for state in ("active", "invited", "expired", "deactivated"):
        assert set(names(state=state)) - {"Alice"} == {name for name in STATES if name.startswith(state)}
    assert sum(len(names(state=state)) for state in ("active", "invited", "expired", "deactivated")) == len(names())


@pytest.mark.usefixtures("everybody")
def test_search_role_and_state_narrow_together() -> None:
    """A part of the name or of the address, in any case; what has a meaning in SQL has none here."""
    assert names(search="ALICE@") == names(search="alic") == names(role="admin") == ["Alice"]
    assert names(search="expired", state="expired", role="auditor") == ["expired before coming"]
    assert names(search="%") == names(search="_") == []


@pytest.mark.usefixtures("everybody")
def test_the_page_shows_filters_and_pages(admin: Client) -> None:
    """The filters stand in the address and stay from page to page; senseless ones are not applied."""
    assert rows(admin.get(LIST)) == len(STATES) + 1
    assert rows(admin.get(f"{LIST}?state=invited")) == 1
    assert rows(admin.get(f"{LIST}?state=asleep&role=king&page=x")) == len(STATES) + 1
    assert "Nobody found" in admin.get(f"{LIST}?q=nobody").content.decode()
    User.objects.bulk_create(User(email=f"many{at:03}@example.com", password="!") for at in range(120))
    first = admin.get(f"{LIST}?q=many&state=invited")
    assert rows(first) == 50
    assert 'href="?q=many&amp;state=invited&amp;page=2"' in first.content.decode()
    assert rows(admin.get(f"{LIST}?q=many&state=invited&page=3")) == 20


def test_names_are_shown_and_not_obeyed(admin: Client) -> None:
    """What people call themselves is text."""
    User.objects.create_user("bob@example.com", "x", name="<script>alert(1)</script>")
    assert "<script>alert" not in admin.get(LIST).content.decode()


def test_last_seen_is_the_newest_there_is(alice: User, bob: User) -> None:
    """A session's last use, else the last sign-in, else never; it needs no query for each account."""
    signed_in()
    seen = {user.name: last_seen(user) for user in find_accounts()}
    assert seen["Bob"] is None
    assert seen["Alice"] is not None
    assert timezone.now() - seen["Alice"] < timedelta(minutes=1)
    User.objects.filter(pk=bob.pk).update(last_login=LONG_AGO)
    with CaptureQueriesContext(connection) as queries:
        seen = {user.name: last_seen(user) for user in find_accounts()}
    assert seen["Bob"] == LONG_AGO
    assert len(queries) == 1
