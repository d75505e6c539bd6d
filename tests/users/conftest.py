"""The cast of the workspace's tests, and what is asked of a user's page again and again."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from opssentinal.workspace.models import User
from tests.workspace.conftest import alice, bob, broken_ledger, signed_in, workspace

__all__ = ["alice", "bob", "broken_ledger", "workspace"]

LIST = "/settings/users/"


def page(user: User, action: str = "") -> str:
    """The address of a user's page, or of something done there."""
    return f"{LIST}{user.pk}/{action}"


def edited(user: User, **changes: Any) -> dict[str, Any]:
    """What the form of an account sends: its fields as they are shown, but for `changes`."""
    shown = {
        "name": user.name,
        "email": user.email,
        "role": user.role,
        "expires_at": "",
        "log_from": "",
        "log_until": "",
    }
    return shown | changes


@pytest.fixture
def admin(alice: User) -> Client:
    """Alice's browser."""
    return signed_in()
