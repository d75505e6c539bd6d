"""Held events: those under a legal hold that outlive the pruning of their bundle.

Pruning lifts an event that a hold wants into a row of its own, its three lines exactly as they were stored, while its bundle
keeps the leaf hashes of all: so the event stays readable, and provable against the same leaf as ever. The reader puts
held events back in their places, and nobody above it has to know where they are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from opssentinal.events.encoding import decode_recorded
from opssentinal.events.model import RecordedEvent
from opssentinal.ledger.bundle import Bundle

_COLUMNS = "seq, recorded_at_us, event_id, head, who, what"
_AT_ONCE = 10_000  # parameters of a statement; SQLite takes 32,766


class HeldEvent(NamedTuple):
    """A row: `recorded_at_us` in µs since the epoch, and the lines as in a bundle."""

    seq: int
    recorded_at_us: int
    event_id: UUID
    head: bytes
    who: bytes
    what: bytes

    def event(self) -> RecordedEvent:
        """The event. Raises msgspec.MsgspecError where a line is not ours."""
        return decode_recorded(self.seq, self.head, self.who, self.what)


class Totals(NamedTuple):
    """How many events are held now, and how many ever were let go again: a number that tells that some were."""

    events: int
    released: int


def totals() -> Totals:
    """Read the totals: one row, however many events are held."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT events, released FROM ledger_held_total WHERE id = 1")
        return Totals(*cursor.fetchone())


def insert(cursor: Any, events: Sequence[HeldEvent]) -> None:
    """Keep events, within the transaction that prunes their bundles."""
    if not events:
        return
    uuid = _stored_uuid()
    rows = [(*event[:2], uuid(event.event_id), *event[3:]) for event in events]
    cursor.executemany(f"INSERT INTO ledger_held_event ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)", rows)
    cursor.execute("UPDATE ledger_held_total SET events = events + %s WHERE id = 1", [len(rows)])


def delete(cursor: Any, seqs: Sequence[int]) -> int:
    """Let events go, within the transaction that frees their ids; return how many there were."""
    deleted = 0
    for at in range(0, len(seqs), _AT_ONCE):
        part = seqs[at : at + _AT_ONCE]
        cursor.execute(f"DELETE FROM ledger_held_event WHERE seq IN ({_marks(part)})", list(part))
        deleted += cursor.rowcount
    cursor.execute(
        "UPDATE ledger_held_total SET events = events - %s, released = released + %s WHERE id = 1", [deleted, deleted]
    )
    return deleted


def in_range(first_seq: int, end_seq: int, limit: int | None = None) -> list[HeldEvent]:
    """The held events of a range in order, the first `limit` of them."""
    sql, params = "seq >= %s AND seq < %s ORDER BY seq", [first_seq, end_seq]
    return _select(sql, params) if limit is None else _select(f"{sql} LIMIT %s", [*params, limit])


def at(seqs: Collection[int]) -> list[HeldEvent]:
    """Those of the events at these seqs that are held, in order."""
    found: list[HeldEvent] = []
    ordered = sorted(seqs)
    for start in range(0, len(ordered), _AT_ONCE):
        part = ordered[start : start + _AT_ONCE]
        found += _select(f"seq IN ({_marks(part)}) ORDER BY seq", part)
    return found


def newest(limit: int, before_seq: int) -> list[RecordedEvent]:
    """The newest held events below a seq, newest first."""
    return [row.event() for row in _select("seq < %s ORDER BY seq DESC LIMIT %s", [before_seq, limit])]


def seqs_of(id_: UUID) -> list[int]:
    """The seqs of the held events with this id."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq FROM ledger_held_event WHERE event_id = %s", [_stored_uuid()(id_)])
        return [seq for (seq,) in cursor.fetchall()]


def all_seqs() -> list[int]:
    """The seqs of everything that is held, in order."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq FROM ledger_held_event ORDER BY seq")
        return [seq for (seq,) in cursor.fetchall()]


def restored(bundle: Bundle) -> Iterator[Bundle]:
    """The bundle with its held events in their places: a pruned one in pieces, each with text or without."""
    if not bundle.is_pruned:
        yield bundle
        return
    for run in _runs(in_range(bundle.first_seq, bundle.end_seq)):
        if run[0].seq > bundle.first_seq:
            yield bundle.until(run[0].seq)
        times = [row.recorded_at_us for row in run]
        lines = [row.head for row in run], [row.who for row in run], [row.what for row in run]
        yield Bundle(run[0].seq, len(run), min(times), max(times), *lines)
        if run[-1].seq + 1 == bundle.end_seq:
            return
        bundle = bundle.since(run[-1].seq + 1)
    yield bundle


def _runs(rows: Sequence[HeldEvent]) -> Iterator[list[HeldEvent]]:
    """Neighbours together."""
    run: list[HeldEvent] = []
    for row in rows:
        if run and row.seq != run[-1].seq + 1:
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _select(condition: str, params: Sequence[int]) -> list[HeldEvent]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_COLUMNS} FROM ledger_held_event WHERE {condition}", list(params))
        return [_from_row(row) for row in cursor.fetchall()]


def _from_row(row: tuple[Any, ...]) -> HeldEvent:
    seq, recorded_at_us, event_id, *lines = row
    id_ = event_id if isinstance(event_id, UUID) else UUID(bytes=bytes(event_id))
    return HeldEvent(seq, recorded_at_us, id_, *map(bytes, lines))


def _marks(values: Sequence[int]) -> str:
    return ",".join(["%s"] * len(values))


def _stored_uuid() -> Any:
    """How this database keeps a UUID: as one, or as its 16 bytes."""
    return (lambda id_: id_) if connection.vendor == "postgresql" else (lambda id_: id_.bytes)
