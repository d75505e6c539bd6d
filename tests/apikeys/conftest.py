"""Keys, and people who may and may not make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from opssentinal.apikeys import authentication
from opssentinal.apikeys.principal import EVENTS_WRITE
from opssentinal.apikeys.services import CreatedKey, create_key
from opssentinal.events.model import Actor, Context
from opssentinal.workspace.models import User
from tests.ledger.conftest import reset_head

ALICE = Actor(type="user", id="user_1", name="Alice", email="alice@example.com")
HERE = Context(ip="203.0.113.9")


@pytest.fixture(autouse=True)
def _no_cached_keys() -> Iterator[None]:
    authentication.forget_cached()
    cache.clear()  # limits of signing in
    yield
    authentication.forget_cached()


@pytest.fixture
def log(transactional_db: None) -> None:
    """An empty log."""
    reset_head()


@pytest.fixture
def make_key(log: None) -> Callable[..., CreatedKey]:
    """Create a key, by default one that may write events as `billing`."""

    def make(**fields: Any) -> CreatedKey:
        chosen = {"name": "Billing", "source": "billing", "scopes": [EVENTS_WRITE]} | fields
        return create_key(actor=ALICE, context=HERE, **chosen)

    return make


@pytest.fixture
def alice(log: None) -> Client:
    """The browser of Alice, who is an admin."""
    return _signed_in("alice@example.com", "Alice", "admin")


@pytest.fixture
def bob(log: None) -> Client:
    """The browser of Bob, who is a member."""
    return _signed_in("bob@example.com", "Bob", "member")


def _signed_in(email: str, name: str, role: str) -> Client:
    password = "correct horse battery staple"
    User.objects.create_user(email, password, name=name, role=role)
    browser = Client(raise_request_exception=False)
    assert browser.post("/accounts/login/", {"login": email, "password": password}).status_code == 302
    return browser
