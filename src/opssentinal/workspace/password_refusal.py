"""Why a right password or passkey may still not sign an account in: a rule that a room above the workspace brings at start.

Single sign-on does, where only admins keep them; the workspace itself knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opssentinal.workspace.models import User

# The reason that login.failure tells for an account, such as "sso_required"; None where they count.
Refusal = Callable[["User"], str | None]

_makers: list[Callable[[], Refusal]] = []


def add_password_refusal(make: Callable[[], Refusal]) -> None:
    """Ask `make` for the rule in force at each attempt, before the account is known: all attempts then cost the same."""
    if make not in _makers:
        _makers.append(make)


def password_refusal() -> Refusal:
    """The rules in force now, as one."""
    rules = [make() for make in _makers]
    return lambda user: next((reason for rule in rules if (reason := rule(user))), None)
