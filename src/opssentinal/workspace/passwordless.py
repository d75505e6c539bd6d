"""Whether an account without a password has a way in: a room above the workspace that offers one brings it at start.

Single sign-on does, while it is on. An admin who depends on it counts as one who can sign in only as long as that is so.
"""

from __future__ import annotations

from collections.abc import Callable

_ways: list[Callable[[], bool]] = []


def add_way_in(is_open: Callable[[], bool]) -> None:
    """Ask `is_open` each time whether people can sign in this way now."""
    if is_open not in _ways:
        _ways.append(is_open)


def is_way_in_open() -> bool:
    """Whether anybody without a password can sign in now."""
    return any(is_open() for is_open in _ways)
