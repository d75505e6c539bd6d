"""Halves of surrogate pairs, named by their place: JSON can spell one (RFC 8259, Section 8.2), and no UTF-8 text can hold it.

The decoder refuses such a text without saying where, so this looks again, once something has been refused.
"""

from __future__ import annotations

import json
from typing import Any

from opssentinal.errors import InvalidEvent


def unpaired_surrogate(raw: bytes) -> InvalidEvent | None:
    """The error that names the first half of a pair in a JSON text, or None if there is none or the text is no JSON."""
    if b"\\u" not in raw:
        return None
    try:
        found = _find(json.loads(raw), "$")
    except (ValueError, RecursionError):
        return None
    if found is None:
        return None
    path, char = found
    return InvalidEvent(f"holds \\u{ord(char):04x}, half of a surrogate pair, which is no character", path=path)


def _find(value: Any, path: str) -> tuple[str, str] | None:
    if isinstance(value, str):
        return next(((path, char) for char in value if "\ud800" <= char <= "\udfff"), None)
    if isinstance(value, dict):
        for key, item in value.items():
            if found := _find(key, path) or _find(item, f"{path}.{key}"):
                return found
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if found := _find(item, f"{path}[{index}]"):
                return found
    return None
