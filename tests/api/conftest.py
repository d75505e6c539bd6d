"""The API as a program meets it, through Django; searching has a server process of its own (test_search)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import Client

from opssentinal.api import authorization
from opssentinal.apikeys import authentication
from opssentinal.apikeys.principal import SCOPES
from opssentinal.apikeys.rate import RateLimit
from opssentinal.apikeys.services import create_key
from opssentinal.events.model import Actor, Context, Event
from opssentinal.ledger.append import append
from opssentinal.ledger.receipts import Receipt
from tests.ledger.conftest import reset_head

ALICE = Actor(type="user", id="user_1", name="Alice", email="alice@example.com")
BASE = "/api/v1"


@pytest.fixture(autouse=True)
def log(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty log, nothing cached, and every key with its whole share."""
    reset_head()
    cache.clear()
    authentication.forget_cached()
    monkeypatch.setattr(authorization, "REQUESTS", RateLimit("requests", 10_000))
    yield
    authentication.forget_cached()


class Caller:
    """A program with a key."""

    def __init__(self, token: str | None) -> None:
        self.token = token
        self._client = Client(raise_request_exception=False)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Call the API; a body that is not bytes is sent as JSON. The answer's JSON is its `json_`."""
        sent = {"authorization": f"Bearer {self.token}"} if self.token else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = sent.pop("content-type", "application/json")
        response = self._client.generic(method, BASE + path, raw, content_type=kind, headers=sent)
        if "json" in response.headers.get("Content-Type", ""):
            response.json_ = json.loads(response.content)
        return response

    def get(self, path: str, **headers: str) -> Any:
        """GET."""
        return self("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        """POST."""
        return self("POST", path, body, **headers)


@pytest.fixture
def caller() -> Callable[..., Caller]:
    """Make a key and return the program that has it; by default with every scope."""

    def make(**fields: Any) -> Caller:
        chosen = {"name": "Billing", "source": "billing", "scopes": list(SCOPES)} | fields
        return Caller(create_key(actor=ALICE, context=Context(), **chosen).token)

    return make


def put(*messages: str, **fields: Any) -> list[Receipt]:
    """Record events with these messages."""
    with transaction.atomic(durable=True):
        return append(
            [
                Event(**({"action": "a.b", "actor": ALICE, "source": "billing", "message": text} | fields))
                for text in messages
            ]
        )
