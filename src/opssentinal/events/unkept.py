"""What a JSON text can spell and the log cannot keep, named by its place.

Halves of surrogate pairs, which no UTF-8 text can hold (RFC 8259, Section 8.2); bytes that are no UTF-8 (Section 8.1); numbers that
a double cannot tell from 0 (Section 6). The decoder refuses the first two without saying where and makes 0 of the third, so
this looks again, once there is reason to.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from opssentinal.errors import InvalidEvent

# A number without an exponent has more zeros than this behind its point, before a double takes it for 0.
_ZEROS = b"0" * 20


def unpaired_surrogate(raw: bytes) -> InvalidEvent | None:
    """The error that names the first half of a pair in a JSON text, or None if there is none or the text is no JSON."""
    if b"\\u" not in raw:
        return None
    try:
        found = _find(json.loads(raw), "$", _half)
    except (ValueError, RecursionError):
        return None
    if found is None:
        return None
    path, char = found
    return InvalidEvent(f"holds \\u{ord(char):04x}, half of a surrogate pair, which is no character", path=path)


def not_utf8(raw: bytes) -> InvalidEvent | None:
    """The error that names the first byte that is no UTF-8, or None if there is none."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        at = error.start
    else:
        return None
    found = None
    try:
        found = _find(json.loads(raw.decode(errors="surrogateescape")), "$", _half)
    except (ValueError, RecursionError):
        pass  # it is no JSON either, and then the byte has no path
    detail = f"is not UTF-8: it holds the byte 0x{raw[at]:02x} (byte {at})"
    return InvalidEvent(detail, path=found[0] if found else "$")


def refuse_lost_numbers(raw: bytes) -> None:
    """Raise InvalidEvent when a number in the text of an event is not 0 and so small that a double is."""
    if not (b"e-" in raw or b"E-" in raw or _ZEROS in raw):
        return
    found = _find(json.loads(raw, parse_float=_as_kept, parse_int=float), "$", _lost)
    if found is not None:
        path, text = found
        detail = f"is {text[:32]}, which is too small for a double and would be kept as 0; send it as a string"
        raise InvalidEvent(detail, path=path)


class _Lost(str):
    """A number as it was written, where a double cannot hold it."""

    __slots__ = ()


def _as_kept(text: str) -> float | _Lost:
    value = float(text)
    is_zero = not text.lower().partition("e")[0].strip("-0.")
    return value if value or is_zero else _Lost(text)


def _half(value: Any) -> str | None:
    if isinstance(value, str):
        return next((char for char in value if "\ud800" <= char <= "\udfff"), None)
    return None


def _lost(value: Any) -> str | None:
    return value if isinstance(value, _Lost) else None


def _find(value: Any, path: str, look: Callable[[Any], str | None]) -> tuple[str, str] | None:
    """The path of the first value or key in which `look` finds something, and what that is."""
    if (found := look(value)) is not None:
        return path, found
    if isinstance(value, dict):
        for key, item in value.items():
            if within := _find(key, path, look) or _find(item, f"{path}.{key}", look):
                return within
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if within := _find(item, f"{path}[{index}]", look):
                return within
    return None
