"""A recorded event as JSON: the very bytes of the API, of `opssentinal search --json` and of the raw view on the page.

Times are RFC 3339 in UTC with `Z`, to the microsecond. Every key of the event itself is always there, so that readers
need no defaults: an absent message or tenant is null, no targets are []. Inside actor, targets, context and changes what
is absent is left out, since there are many such fields and few are set.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from opssentinal.events.model import RecordedEvent

_encode = msgspec.json.Encoder().encode


def event_json(event: RecordedEvent) -> bytes:
    """One event as compact JSON in UTF-8, without a newline."""
    return _encode(event)


def event_jsonl(events: Iterable[RecordedEvent]) -> bytes:
    """Events as JSON Lines, each ended by a newline."""
    return b"".join(_encode(event) + b"\n" for event in events)
