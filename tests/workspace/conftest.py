"""The cast (Alice is an admin, Bob a member), their browsers, and a ledger that can be broken for real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from pytest_django import Settings

from opssentinal.events.model import RecordedEvent
from opssentinal.ledger.reader import newest
from opssentinal.workspace.models import User
from tests.ledger.conftest import check_ledger, reset_head

PASSWORD = "correct horse battery staple"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture(autouse=True)
def workspace(transactional_db: None, settings: Settings) -> Iterator[None]:
    """An empty workspace with an empty, sound ledger; the ledger is still sound at the end."""
    settings.PASSWORD_HASHERS = ["tests.workspace.hashers.CountingHasher"]
    settings.ROOT_URLCONF = "tests.workspace.urls"
    cache.clear()
    reset_head()
    yield
    check_ledger()


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice@example.com", PASSWORD, name="Alice", role="admin")


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob@example.com", PASSWORD, name="Bob")


def browser(ip: str = "203.0.113.9", **options: Any) -> Client:
    """A browser that sees error pages, as people do."""
    return Client(raise_request_exception=False, headers={"user-agent": AGENT}, REMOTE_ADDR=ip, **options)


def sign_in(client: Client, email: str = "alice@example.com", password: str = PASSWORD, **more: str) -> Any:
    return client.post("/accounts/login/", {"login": email, "password": password, **more})


def signed_in(email: str = "alice@example.com", ip: str = "203.0.113.9") -> Client:
    client = browser(ip)
    assert sign_in(client, email).status_code == 302
    return client


def is_signed_in(client: Client) -> bool:
    return bool(client.get("/profile/").status_code == 200)


def session_key(client: Client) -> str | None:
    cookie = client.cookies.get("sessionid")
    return cookie.value if cookie and cookie.value else None


def events(action: str | None = None) -> list[RecordedEvent]:
    """What the log holds, oldest first."""
    return [event for event in reversed(newest(1000)) if action in (None, event.action)]


@contextmanager
def away(table: str) -> Iterator[None]:
    """Take a table away, so that whatever needs it really fails."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")


@contextmanager
def unwritable(table: str, *operations: str) -> Iterator[None]:
    """Have the database fail what writes into a table, or these operations of it; what only reads goes on."""
    triggers = {f"unwritable_{n}": each for n, each in enumerate(operations or ("INSERT", "UPDATE", "DELETE"))}
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if is_postgresql:
            body = "$$ BEGIN RAISE 'the disk is full' USING ERRCODE = 'disk_full'; END $$"
            cursor.execute(f"CREATE FUNCTION unwritable() RETURNS trigger LANGUAGE plpgsql AS {body}")
        # An error of operation on both; SQLite's RAISE would be one of integrity, as where a value is taken already.
        act = (
            "FOR EACH STATEMENT EXECUTE FUNCTION unwritable()" if is_postgresql else "BEGIN SELECT 1 FROM nowhere; END"
        )
        for name, operation in triggers.items():
            cursor.execute(f"CREATE TRIGGER {name} BEFORE {operation} ON {table} {act}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for name in triggers:
                cursor.execute(f"DROP TRIGGER {name}" + (f" ON {table}" if is_postgresql else ""))
            if is_postgresql:
                cursor.execute("DROP FUNCTION unwritable()")


@pytest.fixture
def broken_ledger() -> Callable[[], AbstractContextManager[None]]:
    """`with broken_ledger():` nothing can be appended."""
    return lambda: away("ledger_head")
