"""The cast (Alice is an admin, Carol an auditor, Bob a member), their browsers, and search over a log of known days."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from opssentinal.apikeys import authentication
from opssentinal.events.model import Actor, Context, Event, RecordedEvent, Target
from opssentinal.ledger.reader import newest
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import update_preferences
from tests.exports.conftest import Back, back, ledger
from tests.ledger.conftest import commit

__all__ = ["Back", "back", "ledger"]

LOG = "/insights/audit-logs/"
EXPORTS = "/insights/exports/"
TYPES = "/insights/event-types/"
OPERATOR = Actor(type="os_user", id="root@host")
# Nothing of the product's own is dated so: Carol's period begins and ends between whole days long past.
DAY_0 = datetime(2025, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_cached(transactional_db: None) -> Iterator[None]:
    cache.clear()
    authentication.forget_cached()
    yield
    authentication.forget_cached()


@pytest.fixture
def alice(ledger: object) -> User:
    return User.objects.create_user("alice@example.com", name="Alice", role="admin")


@pytest.fixture
def carol(ledger: object) -> User:
    return User.objects.create_user("carol@example.com", name="Carol", role="auditor")


@pytest.fixture
def bob(ledger: object) -> User:
    return User.objects.create_user("bob@example.com", name="Bob")


def browser(user: User | None = None) -> Client:
    """A browser, signed in as `user`, that sees error pages as people do."""
    client = Client(raise_request_exception=False, headers={"user-agent": "Mozilla/5.0"}, REMOTE_ADDR="203.0.113.9")
    if user is not None:
        client.force_login(user)
    return client


def let_auditors_read(allowed: bool = True) -> None:
    """What an admin decides under Settings."""
    update_preferences(OPERATOR, Context(), "security", auditors_read_log=allowed)


def limit(user: User, first_day: int | None, end_day: int | None) -> None:
    """Limit an account to the days from `first_day` until `end_day`, which is not included; counted from DAY_0."""
    user.log_from = None if first_day is None else DAY_0 + timedelta(days=first_day)
    user.log_until = None if end_day is None else DAY_0 + timedelta(days=end_day)
    user.save()


def event_of(day: float, name: str, **more: object) -> Event:
    """An event that occurred so many days after DAY_0, in which everything that can be read says `name`."""
    fields: dict[str, object] = {
        "action": f"{name}.seen",
        "actor": Actor(type="user", id=f"{name}-actor", name=f"{name} actor", email=f"{name}@example.com"),
        "targets": [Target(type=name, id=f"{name}-target")],
        "context": Context(ip="203.0.113.77"),
        "metadata": {name: name},
        "message": name,
        "source": name,
        "tenant": name,
        "occurred_at": DAY_0 + timedelta(days=day),
    }
    return Event(**(fields | more))  # type: ignore[arg-type]


def put(*made: Event) -> list[int]:
    """Record events; return their seqs."""
    return [receipt.seq for receipt in commit(list(made), now_us=None) if receipt.seq is not None]


def recorded(action: str) -> list[RecordedEvent]:
    """The events of an action, oldest first."""
    return [event for event in reversed(newest(1000)) if event.action == action]


@contextmanager
def nothing_can_be_written() -> Iterator[None]:
    """Have the database refuse every further entry of the log, as it does on a full disk; reading goes on."""
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if is_postgresql:
            cursor.execute(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$"
            )
            cursor.execute(
                "CREATE TRIGGER full_disk BEFORE INSERT ON ledger_bundle FOR EACH ROW EXECUTE FUNCTION full_disk()"
            )
        else:
            cursor.execute(
                "CREATE TRIGGER full_disk BEFORE INSERT ON ledger_bundle "
                "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER full_disk" + (" ON ledger_bundle" if is_postgresql else ""))
            if is_postgresql:
                cursor.execute("DROP FUNCTION full_disk()")


def taken(response: Any) -> bytes:
    """The content of a file that was fetched; the server closes its files likewise."""
    assert response.status_code == 200
    content = b"".join(response.streaming_content)
    response.close()
    return content
