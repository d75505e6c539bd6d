"""The catalogue of event types: the one source of the page's groups, the sentences, the API's list and the docs table.

Callers may send any other well-formed action too; these are the ones the product knows by name. A declared type says what
it means, which group it stands in, whether it is sensitive, and how to say it in a sentence.
"""

from __future__ import annotations

from opssentinal.events.event_type import CATEGORIES, Category, EventType
from opssentinal.events.types import authentication, configuration, data_access, user_management

__all__ = ["CATEGORIES", "EVENT_TYPES", "SENSITIVE_ACTIONS", "Category", "EventType", "actions_in", "category_of"]

_TYPES: tuple[EventType, ...] = (
    *authentication.TYPES,
    *user_management.TYPES,
    *configuration.TYPES,
    *data_access.TYPES,
)

EVENT_TYPES: dict[str, EventType] = {kind.action: kind for kind in _TYPES}

SENSITIVE_ACTIONS: frozenset[str] = frozenset(kind.action for kind in _TYPES if kind.sensitive)


def actions_in(category: str) -> tuple[str, ...]:
    """The declared actions of a category, in catalogue order; empty for an unknown one."""
    return tuple(kind.action for kind in _TYPES if kind.category == category)


def category_of(action: str) -> Category | None:
    """The category of a declared action; None for one that only callers know."""
    kind = EVENT_TYPES.get(action)
    return kind.category if kind else None
