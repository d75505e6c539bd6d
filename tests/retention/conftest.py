"""A ledger with old and new events, and people who ask about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from opssentinal.approvals.models import AdminTerm
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


def make_admin(name: str) -> User:
    """An admin who has been one since long before these tests' day."""
    user = User.objects.create_user(f"{name.lower()}@example.com", "correct horse battery", name=name, role="admin")
    User.objects.filter(pk=user.pk).update(date_joined=days_ago(500))
    AdminTerm.objects.filter(user=user).update(since=days_ago(500))
    return user


@pytest.fixture
def admin(ledger: object) -> User:
    return make_admin("Alice")


@pytest.fixture
def carol(admin: User) -> User:
    return make_admin("Carol")


@pytest.fixture
def admin_client(admin: User) -> Client:
    client = Client()
    client.force_login(admin)
    return client
