"""JSON → Event, strictly: whatever we would have to change or guess at is refused with the path that names it.

msgspec checks shapes, types and lengths in C. What it lets through is checked here: duplicate keys (it keeps the last),
NUL (PostgreSQL cannot store it), depth, addresses, numbers too small for a double (it makes them 0), and times that no
calendar of ours can hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from operator import attrgetter
from typing import Any

import msgspec

from opssentinal.errors import InvalidEvent
from opssentinal.events.model import (
    ACTION_PATTERN,
    DEPTH_MAX,
    EVENT_BYTES_MAX,
    SOURCE_PATTERN,
    Change,
    Context,
    Event,
    to_us,
)
from opssentinal.events.unkept import not_utf8, refuse_lost_numbers, unpaired_surrogate
from opssentinal.years import EVENT_YEAR_MAX, EVENT_YEAR_MIN

_decode_event = msgspec.json.Decoder(Event).decode
_in_order = msgspec.json.Encoder(order="deterministic").encode
_decode_batch = msgspec.json.Decoder(list[Event]).decode
_changes = attrgetter("changes")
_encode_any = msgspec.json.Encoder().encode

_CONTAINERS = frozenset((dict, list))  # exactly what the decoder makes of objects and arrays
# NUL, and quotes that are spelled so. The first look is for their first byte alone, which is thirty times as fast.
_ESCAPE = b"\\u00"


def decode_event(raw: bytes) -> Event:
    """Decode and validate one event. Raises InvalidEvent, whose `path` names the first thing wrong."""
    if len(raw) > EVENT_BYTES_MAX:
        raise InvalidEvent(f"is {len(raw):,} bytes; an event may have {EVENT_BYTES_MAX:,} at most", path="$")
    try:
        event = _decode_event(raw)
        has_escapes = b"\\" in raw and _ESCAPE in raw
        if not _has_no_key_twice(raw, event, has_escapes=has_escapes):
            _refuse_duplicate_keys(raw)
    except InvalidEvent:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise unpaired_surrogate(raw) or not_utf8(raw) or _as_invalid_event(error) from error
    return _from_caller(event, raw, may_hold_nul=has_escapes and b"\\u0000" in raw)


def decode_events(raws: Sequence[bytes | msgspec.Raw]) -> list[Event | InvalidEvent]:
    """Decode a batch, each item an event or the reason why it is none; never raises for the content of an item.

    The whole batch is decoded in one call first; only where that fails is it taken item by item.
    """
    if all(len(memoryview(raw)) <= EVENT_BYTES_MAX for raw in raws):
        joined = b"[" + b",".join(raws) + b"]"
        try:
            events = _decode_batch(joined)
            has_escapes = b"\\" in joined and _ESCAPE in joined
            if len(events) == len(raws) and _has_no_key_twice(joined, events, has_escapes=has_escapes):
                nul = has_escapes and b"\\u0000" in joined
                if not nul and _are_plain(events):
                    return list(events)
                return [_from_caller(event, raw, may_hold_nul=nul) for event, raw in zip(events, raws, strict=True)]
        except (InvalidEvent, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return [_decoded_or_error(bytes(raw)) for raw in raws]  # finds which item it was, and says so
    return [_decoded_or_error(bytes(raw)) for raw in raws]


def _decoded_or_error(raw: bytes) -> Event | InvalidEvent:
    try:
        return decode_event(raw)
    except InvalidEvent as error:
        return error


def _are_plain(events: Sequence[Event]) -> bool:
    """Whether `_from_caller` would neither refuse nor change any of them, nor look into nested values.

    So it is with most batches, and asking this takes no call for each event.
    """
    contexts = [event.context for event in events]
    times = [event.occurred_at for event in events if event.occurred_at is not None]
    addresses = {context.ip for context in contexts} - {None}
    kinds = {type(value) for event in events for value in event.metadata.values()}
    return (
        {context.api_key for context in contexts} <= {None}
        and all(map(_is_action, {event.action for event in events}))
        and all(address == _canonical_ip(address) for address in addresses)
        and {at.tzinfo for at in times} <= {UTC}
        and all(EVENT_YEAR_MIN <= year <= EVENT_YEAR_MAX for year in {at.year for at in times})
        and not any(map(_changes, events))
        and _CONTAINERS.isdisjoint(kinds)
        and not (float in kinds and any(not v for e in events for v in e.metadata.values() if type(v) is float))
    )


def _from_caller(event: Event, raw: bytes | msgspec.Raw, *, may_hold_nul: bool) -> Event:
    if event.context.api_key is not None:
        raise InvalidEvent("is set by the server", path="$.context.api_key")
    if _has_zero(event, may_hold_nul=may_hold_nul):
        refuse_lost_numbers(bytes(raw))
    return event


def validate(event: Event, *, may_hold_nul: bool = True) -> Event:
    """Check what the types cannot say, normalise address and times to UTC in place, and return the event.

    `may_hold_nul=False` spares the walk over all strings when the raw text is known to hold no NUL escape.
    """
    _has_zero(event, may_hold_nul=may_hold_nul)
    return event


def _has_zero(event: Event, *, may_hold_nul: bool) -> bool:
    """Do what `validate` does; return whether the event holds 0.0, which may have been written as another number."""
    if not _is_action(event.action):
        raise InvalidEvent("must be noun.verb in lower case, such as invoice.paid", path="$.action")
    context = event.context
    if context.ip is not None:
        canonical = _canonical_ip(context.ip)
        if canonical is None:
            raise InvalidEvent(f"{context.ip!r} is not an IP address", path="$.context.ip")
        if canonical != context.ip:
            event.context = msgspec.structs.replace(context, ip=canonical)
    occurred_at = event.occurred_at
    if occurred_at is not None and not (
        occurred_at.tzinfo is UTC and EVENT_YEAR_MIN <= occurred_at.year <= EVENT_YEAR_MAX
    ):
        event.occurred_at = _in_utc(occurred_at)
    has_zero = bool(event.metadata) and _holds_zero(event.metadata, 2, "$.metadata")
    for index, change in enumerate(event.changes):
        has_zero |= _holds_zero(change.before, 4, f"$.changes[{index}].before")
        has_zero |= _holds_zero(change.after, 4, f"$.changes[{index}].after")
    if may_hold_nul:
        _refuse_nul(msgspec.to_builtins(event), "$")
    return has_zero


@lru_cache(maxsize=4_096)
def _is_action(text: str) -> bool:
    # Not by the decoder, which would ask the pattern for each event: the same actions come again and again.
    return re.search(ACTION_PATTERN, text) is not None


def _in_utc(occurred_at: datetime) -> datetime:
    try:
        utc = occurred_at.astimezone(UTC)
    except OverflowError:
        utc = None
    if utc is None or not EVENT_YEAR_MIN <= utc.year <= EVENT_YEAR_MAX:
        raise InvalidEvent(f"must lie in the years {EVENT_YEAR_MIN} to {EVENT_YEAR_MAX} (UTC)", path="$.occurred_at")
    return utc


@lru_cache(maxsize=65_536)
def _canonical_ip(text: str) -> str | None:
    """As `ipaddress` writes it; an IPv4 address mapped into IPv6 as IPv4, a link-local one without its local zone."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def _has_no_key_twice(raw: bytes, decoded: Event | list[Event], *, has_escapes: bool) -> bool:
    """Whether it is certain that no object in `raw` has a key twice; `decoded` is what it was decoded to.

    A key has two quotes, as a string has, and one more for each quote in it. The value written out again has those of the keys
    and strings that it kept, so equal counts mean that no key was lost. A quote that is spelled as an escape would be written
    differently, and what holds its default is not written: with these it is not certain.
    """
    return not (has_escapes and b"\\u0022" in raw) and raw.count(b'"') == _encode_any(decoded).count(b'"')


def _refuse_duplicate_keys(raw: bytes) -> None:
    """Look at every object in the text of an event, and raise InvalidEvent when one has a key twice."""
    try:
        found = _repeated_key(json.loads(raw, object_pairs_hook=_Object))
    except RecursionError as error:
        raise _as_invalid_event(error) from error
    if found is not None:
        key, path = found
        raise InvalidEvent(f"the key {key!r} appears twice in one object", path=f"${path}")


class _Object(list[tuple[str, Any]]):
    """An object as the pairs it was written with."""


def _repeated_key(value: list[Any]) -> tuple[str, str] | None:
    """The first key that an object has twice and the path of that object, which is put together only when there is one."""
    if isinstance(value, _Object):
        seen: set[str] = set()
        for key, item in value:
            if key in seen:
                return key, ""
            seen.add(key)
            if isinstance(item, list) and (found := _repeated_key(item)):
                return found[0], f".{key}{found[1]}"
        return None
    for index, item in enumerate(value):
        if isinstance(item, list) and (found := _repeated_key(item)):
            return found[0], f"[{index}]{found[1]}"
    return None


def _holds_zero(value: Any, level: int, path: str) -> bool:
    """Whether `value` is or holds 0.0. Raises when, standing at nesting level `level` (the event is 1), it goes below DEPTH_MAX."""
    if type(value) not in _CONTAINERS:
        return type(value) is float and not value
    if level > DEPTH_MAX:
        raise InvalidEvent(f"is nested deeper than {DEPTH_MAX} levels", path=path)
    found = False
    for item in value.values() if type(value) is dict else value:
        if type(item) in _CONTAINERS:
            found |= _holds_zero(item, level + 1, path)
        elif type(item) is float and not item:
            found = True
    return found


def _refuse_nul(value: Any, path: str) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidEvent("holds a NUL character, which no store can keep", path=path)
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_nul(key, path)
            _refuse_nul(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_nul(item, f"{path}[{index}]")


def _as_invalid_event(error: Exception) -> InvalidEvent:
    if isinstance(error, RecursionError):
        return InvalidEvent(f"is nested deeper than {DEPTH_MAX} levels", path="$")
    reason, _, place = str(error).rpartition(" - at `")
    if not reason:
        return InvalidEvent(str(error), path="$")
    return InvalidEvent(_plain(reason), path=place.rstrip("`").replace("key in ", ""))


def _plain(reason: str) -> str:
    """msgspec's message in the words of the specification."""
    if SOURCE_PATTERN in reason.replace("\\\\", "\\"):
        return "must be a lower-case name such as billing-worker"
    return reason.replace("Object ", "").replace("`", "'")


def same_content(submitted: Event, recorded: Any) -> bool:
    """Whether `submitted`, sent again under an id that is taken, says what the `recorded` event says.

    What the caller left out and the log filled in does not count, nor does what has been erased since.
    """
    who_kept, what_kept = "who" not in recorded.erased, "what" not in recorded.erased
    return bool(
        submitted.action == recorded.action
        and submitted.outcome == recorded.outcome
        and (submitted.occurred_at is None or to_us(submitted.occurred_at) == to_us(recorded.occurred_at))
        and (submitted.source is None or submitted.source == recorded.source)
        and submitted.tenant == recorded.tenant
        and (
            not who_kept or (submitted.actor == recorded.actor and _told(submitted.context) == _told(recorded.context))
        )
        and (
            not what_kept
            or (
                submitted.targets == recorded.targets
                and submitted.message == recorded.message
                and _as_written(submitted) == _as_written(recorded)
            )
        )
    )


def is_same(one: Event, other: Event) -> bool:
    """Whether two submitted events say the same, whichever key sent them."""
    first, second = (_in_order(msgspec.structs.replace(each, context=_told(each.context))) for each in (one, other))
    return first == second


def _as_written(event: Any) -> bytes:
    """Metadata and changes as JSON, which unlike Python tells 1 from true and from 1.0."""
    return _in_order([event.metadata, list(map(_sides, event.changes))])


def _told(context: Context) -> Context:
    """The context without what the server adds, which may differ when another key sends the event again."""
    return msgspec.structs.replace(context, api_key=None) if context.api_key else context


def _sides(change: Change) -> tuple[str, Any, Any]:
    return change.field, change.before, change.after
