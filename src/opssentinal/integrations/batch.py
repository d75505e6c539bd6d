"""What a delivery holds: the next events of the log that a filter means, and their payload."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from opssentinal.events.model import RecordedEvent, rfc3339
from opssentinal.formats.event_json import event_json
from opssentinal.formats.matching import matcher
from opssentinal.ledger import reader
from opssentinal.query import Filter

# How far one look goes into the log: what it found is kept before the next one.
LOOK_EVENTS_MAX = 10_000
BODY_BYTES_MAX = 512 << 10  # one event may be larger by itself, but is never cut

_encode = msgspec.json.Encoder().encode


class EventsGone(Exception):
    """The text of events that are to be sent was pruned."""


class Batch(NamedTuple):
    """Events to send; `end_seq` is where the next look begins."""

    seqs: list[int]
    end_seq: int


class _Payload(msgspec.Struct):
    """The body, in the shape that Standard Webhooks recommends."""

    type: str
    timestamp: str
    data: dict[str, object]


def next_batch(position: int, filter: Filter, events_max: int) -> Batch:
    """Look from `position` on for at most `events_max` events. Raises EventsGone, or IntegrityError of the ledger."""
    is_meant = matcher(filter)
    seqs: list[int] = []
    end_seq, bytes_left = position, BODY_BYTES_MAX
    for bundle in reader.bundles_after(position, LOOK_EVENTS_MAX):
        if bundle.is_pruned:
            if seqs:
                break
            raise EventsGone
        for event in bundle.events():
            if is_meant(event):
                bytes_left -= len(event_json(event))
                if seqs and bytes_left < 0:
                    return Batch(seqs, end_seq)
                seqs.append(event.seq)
            end_seq = event.seq + 1
            if len(seqs) == events_max:
                return Batch(seqs, end_seq)
    return Batch(seqs, end_seq)


def payload(integration_id: str, seqs: Sequence[int], made_at: datetime) -> bytes:
    """The body of a delivery of these events, the same each time. Raises EventsGone."""
    events = reader.read_events(seqs)
    if len(events) < len(seqs):
        raise EventsGone
    return body_of("audit_log.events", integration_id, [events[seq] for seq in seqs], made_at)


def body_of(kind: str, integration_id: str, events: Sequence[RecordedEvent], made_at: datetime) -> bytes:
    """Write a body; each event in it is what the API answers, byte for byte."""
    written = [msgspec.Raw(event_json(event)) for event in events]
    timestamp = rfc3339(made_at)
    return _encode(_Payload(kind, timestamp, {"integration": integration_id, "events": written}))
