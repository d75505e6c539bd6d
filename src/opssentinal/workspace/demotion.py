"""What ends when an account loses the admin role, whoever takes it away: rooms above the workspace bring it at start.

API keys do: what an account made while it was an admin has an admin's power, and must not outlive that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opssentinal.events.model import Actor, Context, Event
    from opssentinal.workspace.models import User

# Ends something inside the caller's recording(), with its own events, and returns how many there were.
Consequence = Callable[["User", Callable[["Event"], None], "Actor", "Context"], int]

_consequences: dict[str, Consequence] = {}


def add_consequence(name: str, end: Consequence) -> None:
    """Have `end` called for each account that loses the role; user.role_changed tells the number as `name`."""
    _consequences[name] = end


def end_admin_powers(user: User, record: Callable[[Event], None], actor: Actor, context: Context) -> dict[str, int]:
    """End it all; what user.role_changed says about it: names and numbers, of what there was."""
    ended = {name: end(user, record, actor, context) for name, end in _consequences.items()}
    return {name: count for name, count in ended.items() if count}
