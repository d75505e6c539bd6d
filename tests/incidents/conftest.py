"""Alice is an admin, Ada an auditor, Bob a member; a sound ledger that can be broken for real; incidents to work on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from pytest_django import Settings

from opssentinal.events.model import Actor, Context, Event, RecordedEvent
from opssentinal.incidents import services
from opssentinal.incidents.models import Incident
from opssentinal.ledger import reader
from opssentinal.ledger.append import append
from opssentinal.workspace.models import User
from tests.ledger.conftest import check_ledger, reset_head
from tests.workspace.conftest import PASSWORD

ALICE = Actor(type="user", id="user_1", name="Alice", email="alice@example.com")
MALLORY = Actor(type="user", id="usr_666", name="Mallory", email="mallory@example.com")
HERE = Context(ip="203.0.113.9")
PAGE = "/insights/incidents/"

Make = Callable[..., Incident]


@pytest.fixture(autouse=True)
def workspace(transactional_db: None, settings: Settings) -> Iterator[None]:
    """An empty workspace with an empty, sound ledger; the ledger is still sound at the end."""
    settings.PASSWORD_HASHERS = ["tests.workspace.hashers.CountingHasher"]
    cache.clear()
    reset_head()
    yield
    check_ledger()


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice@example.com", PASSWORD, name="Alice", role="admin")


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada@example.com", PASSWORD, name="Ada", role="auditor")


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob@example.com", PASSWORD, name="Bob")


@pytest.fixture
def make() -> Make:
    """Open an incident, by default Alice's of high severity."""

    def made(**fields: Any) -> Incident:
        chosen = {"title": "Checkout is slow", "severity": "high", "origin": "manual"} | fields
        return services.open_incident(ALICE, HERE, **chosen).incident

    return made


def put(*actions: str, **fields: Any) -> list[RecordedEvent]:
    """Record events of Mallory's and return them as the log has them."""
    with transaction.atomic(durable=True):
        receipts = append(
            [
                Event(**{"action": action, "actor": MALLORY, "source": "billing", "outcome": "failure"} | fields)
                for action in actions
            ]
        )
    return [reader.read_event(receipt.seq) for receipt in receipts if receipt.seq is not None]
