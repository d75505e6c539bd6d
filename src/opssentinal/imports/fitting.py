"""Making a foreign record fit the limits of an event without losing any of it.

Foreign records know nothing of our limits, and leaving a record out because it is large or deep would let whoever caused
it hide it. So what is too deep becomes its JSON text, and what is too large is packed; both can be read back exactly.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import msgspec

from opssentinal.errors import InvalidEvent
from opssentinal.events.model import DEPTH_MAX, EVENT_BYTES_MAX, Event

PACKED = "base64(zlib(JSON))"
NUL_SIGN = "\u2400"  # ␀, the picture of NUL

_encode = msgspec.json.Encoder().encode


def fit(event: Event) -> Event:
    """Bring the metadata within the depth and size of an event. Raises InvalidEvent where even packed it is too large."""
    if _is_too_deep(event.metadata, 2):  # the event itself is level 1
        event.metadata = _shallow(event.metadata, 2)
    while (size := len(_encode(event))) > EVENT_BYTES_MAX:
        sizes = {key: len(_encode(value)) for key, value in event.metadata.items() if not _is_packed(value)}
        largest = max(sizes, key=lambda key: sizes[key], default=None)
        if largest is None or sizes[largest] < 1024:
            raise InvalidEvent(f"is {size:,} bytes even packed; an event may have {EVENT_BYTES_MAX:,}", path="$")
        event.metadata[largest] = _packed(event.metadata[largest])
    return event


def unpack(value: dict[str, str]) -> Any:
    """The value that `fit` packed."""
    return msgspec.json.decode(zlib.decompress(base64.b64decode(value["packed"])))


def without_nul(value: Any) -> Any:
    """The value with each NUL, which no store can keep, replaced by its picture ␀."""
    if isinstance(value, str):
        return value.replace("\x00", NUL_SIGN)
    if isinstance(value, dict):
        return {without_nul(key): without_nul(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nul(item) for item in value]
    return value


def _packed(value: Any) -> dict[str, str]:
    return {"encoding": PACKED, "packed": base64.b64encode(zlib.compress(_encode(value), 9)).decode()}


def _is_packed(value: Any) -> bool:
    return isinstance(value, dict) and value.get("encoding") == PACKED


def _is_too_deep(value: Any, level: int) -> bool:
    """Whether an object or array at nesting level `level` reaches below DEPTH_MAX; most do not, and stay as they are."""
    items = value.values() if isinstance(value, dict) else value
    return level > DEPTH_MAX or any(_is_too_deep(item, level + 1) for item in items if isinstance(item, (dict, list)))


def _shallow(value: Any, level: int) -> Any:
    if not isinstance(value, (dict, list)):
        return value
    if level > DEPTH_MAX:
        return _encode(value).decode()
    if isinstance(value, dict):
        return {key: _shallow(item, level + 1) for key, item in value.items()}
    return [_shallow(item, level + 1) for item in value]
