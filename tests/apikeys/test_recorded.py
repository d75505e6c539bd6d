"""Making and revoking a key, in each of the ways there are: with its record or not at all, and no record without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.principal import SCOPES
from opssentinal.apikeys.services import CreatedKey
from opssentinal.ledger.reader import newest
from tests.api.conftest import Caller
from tests.apikeys.test_command import run
from tests.apikeys.test_pages import PAGE, filled
from tests.workspace.conftest import unwritable

Act = Callable[[], bool]


def _succeeds(answer: Any, wanted: int) -> bool:
    assert answer.status_code in (wanted, 500, 503)
    return bool(answer.status_code == wanted)


def _runs(*args: str) -> bool:
    try:
        run(*args)
    except DatabaseError:
        return False
    return True


@pytest.fixture(params=["page", "api", "command"])
def ways(request: pytest.FixtureRequest, alice: Client, make_key: Callable[..., CreatedKey]) -> tuple[Act, Act]:
    """How to make a key and how to revoke one; each returns whether it was done."""
    key = make_key(name="Old").key
    match request.param:
        case "page":
            form = filled(alice)
            return (
                lambda: _succeeds(alice.post(f"{PAGE}new/", form), 201),
                lambda: _succeeds(alice.post(f"{PAGE}{key.public_id}/revoke/"), 302),
            )
        case "api":
            program = Caller(make_key(name="Program", scopes=list(SCOPES)).token)
            new = {"name": "New", "source": "new", "scopes": ["events:write"]}
            return (
                lambda: _succeeds(program.post("/api-keys", new), 201),
                lambda: _succeeds(program("DELETE", f"/api-keys/{key.public_id}"), 200),
            )
    return lambda: _runs("create", "New", "--source", "new"), lambda: _runs("revoke", key.public_id)


@pytest.mark.parametrize("table", ["ledger_bundle", "apikeys_apikey"])
def test_a_key_and_its_record_stand_or_fall_together(ways: tuple[Act, Act], table: str) -> None:
    """Where the log or the keys cannot be written, there is neither; then both."""
    create, revoke = ways

    def state() -> tuple[list[Any], list[str]]:
        keys = APIKey.objects.order_by("pk").values_list("public_id", "revoked_at")
        return list(keys), [event.action for event in newest(100)]

    before = state()
    with unwritable(table):
        assert not create()
        assert not revoke()
    assert state() == before
    assert create()
    assert revoke()
    keys, actions = state()
    assert len(keys) == len(before[0]) + 1
    assert keys[0][1] is not None
    assert actions == ["api_key.revoked", "api_key.created", *before[1]]
