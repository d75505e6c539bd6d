"""What is said of a declared event type, and the people and places of the examples."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Category = Literal["authentication", "user_management", "configuration", "data_access"]

CATEGORIES: dict[Category, str] = {
    "authentication": "Authentication",
    "user_management": "User Management",
    "configuration": "Configuration",
    "data_access": "Data Access",
}


class EventType(Struct, frozen=True, kw_only=True):
    """One declared action. `sentence` is filled with {actor}, {target} and {changes}; `example` is a submittable event."""

    action: str
    category: Category
    title: str
    description: str
    sentence: str
    sensitive: bool = False
    example: dict[str, object]


ALICE = {"type": "user", "id": "usr_7", "name": "Alice", "email": "alice@example.com"}
BOB = {"type": "user", "id": "usr_9", "name": "Bob", "email": "bob@example.com"}
FROM = {"ip": "203.0.113.9", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


def example(
    action: str, target: dict[str, str] | None = None, outcome: str = "success", **more: object
) -> dict[str, object]:
    """An event of Alice's that shows an action."""
    event: dict[str, object] = {"action": action, "outcome": outcome, "actor": ALICE, "context": FROM}
    if target is not None:
        event["targets"] = [target]
    return event | more
