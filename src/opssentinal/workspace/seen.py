"""What a settings page showed, as a short text that its form brings back: a change made from a page out of date is refused.

It is refused whole, and what two admins changed at once is not mixed, because values belong together: a password goes to the
server that the page showed beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from opssentinal.errors import Conflict

SETTINGS_CHANGED: Final = "settings_changed"


def version_of(values: Mapping[str, Any]) -> str:
    """A text that is another one as soon as any of the values is."""
    return sha256(msgspec.json.encode(dict(values), order="sorted")).hexdigest()[:32]


def require_seen(seen: str | None, values: Mapping[str, Any]) -> None:
    """Raise Conflict `settings_changed` where other values than these were seen; None, as of a command, has seen nothing."""
    if seen is not None and seen != version_of(values):
        raise Conflict(
            "Somebody else has changed these settings since you opened the page, so nothing was saved.",
            code=SETTINGS_CHANGED,
            hint="They are shown as they are now.",
        )
