"""Opaque cursors: where a page of events ended, sealed so that it continues the same search for the same principal.

A cursor is made of what a reader must not choose: the place, the order and the head the search was fixed at. It is
therefore authenticated (HMAC-SHA-256, 128 bits) together with the filter and the principal. It is not encrypted: what
is in it, the reader has just been shown.

    cursor = base64url(version 0x01 ‖ order ‖ occurred_at_us ‖ seq ‖ head ‖ asked_at_us ‖ MAC)     numbers big-endian
    MAC    = HMAC-SHA-256(key, "opssentinal cursor" ‖ 0x00 ‖ what precedes it ‖ SHA-256(filter) ‖ principal)[:16]
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from opssentinal.errors import InvalidCursor
from opssentinal.query.filter import Filter

KEY_BYTES_MIN: Final = 32

Order = Literal["newest", "oldest"]

_VERSION: Final = 1
_ORDERS: Final[tuple[Order, ...]] = ("newest", "oldest")
_LAYOUT: Final = struct.Struct(">BBqQQq")
_MAC_BYTES: Final = 16
_TEXT_CHARS: Final = -(-(_LAYOUT.size + _MAC_BYTES) * 4 // 3)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HINT: Final = (
    "Use the cursor exactly as it was returned, with the same parameters and the same key; or begin anew without one."
)


class Cursor(msgspec.Struct, frozen=True):
    """Where to go on: after the event `(occurred_at_us, seq)` in `order`.

    occurred_at_us: microseconds since 1970 UTC of the last event shown; seq: its place in the log.
    head: the size of the log at the first page; only events with `seq < head` are shown, so that pages never shift.
    asked_at: the instant of the first page, from which relative times (`after:7d`) are counted on every page.
    """

    occurred_at_us: int
    seq: int
    head: int
    asked_at: datetime
    order: Order = "newest"


def encode_cursor(key: bytes, cursor: Cursor, filter: Filter, principal: str) -> str:
    """Seal a cursor for this filter and principal; URL-safe, without padding, of fixed length."""
    body = _LAYOUT.pack(
        _VERSION,
        _ORDERS.index(cursor.order),
        cursor.occurred_at_us,
        cursor.seq,
        cursor.head,
        (cursor.asked_at - _EPOCH) // timedelta(microseconds=1),
    )
    return base64.urlsafe_b64encode(body + _mac(key, body, filter, principal)).rstrip(b"=").decode("ascii")


def decode_cursor(key: bytes, text: str, filter: Filter, principal: str) -> Cursor:
    """Open a cursor. Raises InvalidCursor if it was altered, or made for another filter, principal or key."""
    raw = _raw(text)
    body, mac = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
    if not hmac.compare_digest(mac, _mac(key, body, filter, principal)):
        raise InvalidCursor("The cursor is not one of this search.", hint=_HINT)
    return _cursor(body)


def cursor_time(text: str) -> datetime:
    """Return the `asked_at` that a cursor claims, not yet authenticated: the `now` to read the request's filter with.

    `after:7d` means another instant on each request; read with the first page's, the filter is that of the first page
    and `decode_cursor` then proves the claim, since the cursor fits no other.
    """
    return _cursor(_raw(text)[: _LAYOUT.size]).asked_at


def _mac(key: bytes, body: bytes, filter: Filter, principal: str) -> bytes:
    if len(key) < KEY_BYTES_MIN:
        raise ValueError(f"a cursor key has at least {KEY_BYTES_MIN} bytes")
    sealed = b"opssentinal cursor\x00" + body + hashlib.sha256(filter.to_json()).digest() + principal.encode()
    return hmac.digest(key, sealed, "sha256")[:_MAC_BYTES]


def _raw(text: str) -> bytes:
    """Decode strictly: one cursor has one spelling."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if (
            len(text) == _TEXT_CHARS
            and base64.urlsafe_b64encode(raw).decode().rstrip("=") == text
            and raw[0] == _VERSION
        ):
            return raw
    except ValueError as error:
        raise InvalidCursor("This is no cursor.", hint=_HINT) from error
    raise InvalidCursor("This is no cursor.", hint=_HINT)


def _cursor(body: bytes) -> Cursor:
    _, order, occurred_at_us, seq, head, asked_at_us = _LAYOUT.unpack(body)
    try:
        return Cursor(occurred_at_us, seq, head, _EPOCH + timedelta(microseconds=asked_at_us), _ORDERS[order])
    except (OverflowError, IndexError) as error:
        raise InvalidCursor("This is no cursor.", hint=_HINT) from error
