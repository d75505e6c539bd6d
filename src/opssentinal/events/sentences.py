"""One readable sentence per event, and the safe spelling of text that came from outside.

The page, the command line and notifications say an event in the same words. Names come from the event alone.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from opssentinal.events.catalogue import EVENT_TYPES
from opssentinal.events.model import Actor, Change, Target

_VALUE_CHARS_MAX = 60


def visible(text: str) -> str:
    """The text with every control, format and line-breaking character spelled out, such as `\\x1b` or `\\u202e`.

    So that nothing in an event can move a cursor, forge a log line or turn the reading direction. Emoji joiners (U+200D)
    and variation selectors stay, since names contain them.
    """
    if text.isprintable() or not text:
        return text
    return "".join(map(_visible_char, text))


def _visible_char(char: str) -> str:
    if char.isprintable() or char == "\u200d":
        return char
    if unicodedata.category(char) == "Zs":
        return " "
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def display_name(party: Actor | Target | None) -> str:
    """What to call an actor or target: its name, else its e-mail, else its id."""
    return visible(party.name or party.email or party.id) if party else "(erased)"


def value_text(value: Any) -> str:
    """A before or after value in a few words; strings as they are, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = visible(text)
    return text if len(text) <= _VALUE_CHARS_MAX else text[: _VALUE_CHARS_MAX - 1] + "…"


def sentence(
    action: str,
    outcome: str,
    actor: Actor | None,
    targets: list[Target],
    changes: list[Change],
    message: str | None = None,
) -> str:
    """Say the event in one sentence without a full stop. An undeclared action uses its message, else its own words."""
    who = display_name(actor)
    whom = ", ".join(map(display_name, targets[:3])) + (f" and {len(targets) - 3} more" if len(targets) > 3 else "")
    kind = EVENT_TYPES.get(action)
    if kind is None:
        if message:
            return visible(message)
        words = visible(action).replace(".", " ").replace("_", " ").replace("-", " ")
        said = f"{who}: {words}" + (f" – {whom}" if whom else "")
    else:
        said = kind.sentence.format(
            actor=who,
            target=whom or _NO_TARGET.get(action, "(no target)"),
            changes=", ".join(visible(change.field).replace("_", " ") for change in changes) or "something",
            changes_from_to=_from_to(changes),
        )
    if outcome in ("failure", "denied") and action not in ("login.failure", "access.denied"):
        said += " (failed)" if outcome == "failure" else " (denied)"
    return said


_NO_TARGET = {"session.revoked": "their own", "settings.updated": "the workspace"}


def _from_to(changes: list[Change]) -> str:
    if len(changes) != 1:
        return ""
    before, after = changes[0].before, changes[0].after
    return f" from {value_text(before)} to {value_text(after)}" if before is not None else f" to {value_text(after)}"
