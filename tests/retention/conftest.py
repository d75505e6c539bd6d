"""A ledger with old and new events, and people who ask about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from opssentinal.events.model import to_us
from opssentinal.workspace.models import User
from tests.ledger.conftest import commit, ledger, make_event

__all__ = ["ledger"]

# Day and night of these tests; 03:00 UTC is when retention runs.
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def record_events(count: int, at: datetime, **fields: object) -> None:
    """Put `count` events into the log as if it had been `at` then."""
    commit([make_event(number, **fields) for number in range(count)], to_us(at))


def days_ago(days: float, now: datetime = NOON) -> datetime:
    return now - timedelta(days=days)


@pytest.fixture
def admin(ledger: object) -> User:
    return User.objects.create_user("alice@example.com", "correct horse battery", name="Alice", role="admin")


@pytest.fixture
def admin_client(admin: User) -> Client:
    client = Client()
    client.force_login(admin)
    return client
