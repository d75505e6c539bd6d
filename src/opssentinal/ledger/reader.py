"""Reading the log in order: by seq, by range, from a position on, and its newest events.

A position is a seq. Compaction may merge the very rows a reader was about to read, so readers ask for the bundles that
reach beyond their position and slice, never for the row that begins there.

Events under a legal hold are read here as if their bundle had never been pruned; see `ledger.held`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from django.db import connection

from opssentinal.errors import IntegrityError, NotFound
from opssentinal.events.encoding import EncodedEvent, decode_recorded
from opssentinal.events.model import RecordedEvent, to_us
from opssentinal.ledger import event_ids, held
from opssentinal.ledger.bundle import COLUMNS, Bundle, from_row
from opssentinal.ledger.head import Head, head

__all__ = [
    "Bundle",
    "Head",
    "bundles_after",
    "find_by_id",
    "first_since",
    "head",
    "newest",
    "read_event",
    "read_events",
    "read_lines",
    "read_range",
    "stored_range",
]

_ROWS_AT_ONCE = 64
# Compressed; pruned bundles and small ones come by the row limit, large ones by this.
_BYTES_AT_ONCE = 4 << 20


def read_event(seq: int) -> RecordedEvent:
    """The event at `seq`. Raises NotFound where the log has not come so far, or has pruned the event's text."""
    return decode_recorded(seq, *read_lines(seq))


def read_lines(seq: int) -> EncodedEvent:
    """The event at `seq` as it is stored and hashed. Raises NotFound as `read_event` does."""
    bundle = _bundle_at(seq)
    if bundle is None:
        raise NotFound(f"There is no event {seq}.")
    if bundle.is_pruned:
        if kept := held.at([seq]):
            return EncodedEvent(kept[0].head, kept[0].who, kept[0].what)
        raise NotFound(f"The text of event {seq} was pruned by the retention policy.", code="pruned")
    return bundle.lines(seq)


def find_by_id(id_: UUID) -> list[int]:
    """The seqs of the events with this id, newest first: one, or several where different sources sent the same id.

    Ids that callers brought are in a table. Ids of ours are UUIDv7 whose time is recorded_at, which leads to the bundle.
    """
    seqs = list({*event_ids.seqs_of(id_), *held.seqs_of(id_)})
    if not seqs and id_.version == 7:
        at_ms = id_.int >> 80
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {COLUMNS} FROM ledger_bundle WHERE recorded_to_us >= %s AND recorded_from_us < %s "
                "ORDER BY first_seq LIMIT 50",
                [at_ms * 1000, (at_ms + 1) * 1000],
            )
            rows = cursor.fetchall()
        text = f'"id":"{id_}"'.encode()
        for bundle in map(from_row, rows):
            seqs += [bundle.first_seq + at for at, line in enumerate(bundle.heads) if text in line]
    return sorted(seqs, reverse=True)


def first_since(recorded_us: int) -> int:
    """The seq of the first event recorded at that moment (µs since the epoch) or later; the size where there is none.

    Where the moment lies within a pruned bundle, that bundle's first seq.
    """
    with connection.cursor() as cursor:
        # recorded_at never runs backwards, so the first bundle that ends late enough holds it.
        cursor.execute(
            f"SELECT {COLUMNS} FROM ledger_bundle WHERE recorded_to_us >= %s ORDER BY recorded_to_us, first_seq LIMIT 1",
            [recorded_us],
        )
        row = cursor.fetchone()
    if row is None:
        return head().size
    bundle = from_row(row)
    return next((event.seq for event in bundle.events() if to_us(event.recorded_at) >= recorded_us), bundle.first_seq)


def bundles_after(position: int, limit_events: int = 20_000) -> Iterator[Bundle]:
    """The bundles from `position` on, in order, sliced to begin there; stops after about `limit_events` events.

    Gapless but for pruned ranges, which come as pruned bundles, cut where an event among them is held. Raises IntegrityError where a row is missing.
    """
    size = head().size
    seen = 0
    while position < size and seen < limit_events:
        rows = _rows_reaching(position)
        if not rows:
            raise IntegrityError(f"The ledger has no bundle for seq {position}.", hint="Run opssentinal fsck.")
        for row in rows:
            if row[0] > position:
                raise IntegrityError(f"The ledger has no bundle for seq {position}.", hint="Run opssentinal fsck.")
            if row[0] + row[1] <= position:
                continue  # merged meanwhile: an earlier row of this portion reached further
            bundle = from_row(row).since(position)
            yield from held.restored(bundle)
            position = bundle.end_seq
            seen += bundle.count
            if seen >= limit_events:
                break


def read_range(first_seq: int, end_seq: int) -> Iterator[Bundle]:
    """The events from `first_seq` on as bundles, until one reaches `end_seq` (which it may pass) or the log ends."""
    for bundle in stored_range(first_seq, end_seq):
        yield from held.restored(bundle)


def stored_range(first_seq: int, end_seq: int) -> Iterator[Bundle]:
    """The bundles of read_range as they are stored: a pruned one in one piece, which has the leaf hashes of all its events."""
    position = first_seq
    while position < end_seq:
        rows = [row for row in _rows_reaching(position) if row[0] + row[1] > position]
        if not rows:
            return
        for row in rows:
            if row[0] >= end_seq:
                return
            bundle = from_row(row).since(position)
            yield bundle
            position = bundle.end_seq


def read_events(seqs: Iterable[int]) -> dict[int, RecordedEvent]:
    """The events at these seqs, each bundle being opened once; those that are pruned or not there are left out."""
    found: dict[int, RecordedEvent] = {}
    pruned: list[int] = []
    bundle: Bundle | None = None
    for seq in sorted(set(seqs)):
        if bundle is None or seq >= bundle.end_seq:
            bundle = _bundle_at(seq)
        if bundle is None:
            continue
        if bundle.is_pruned:
            pruned.append(seq)
        else:
            found[seq] = bundle.event(seq)
    return found | {row.seq: row.event() for row in held.at(pruned)}


def newest(limit: int, before_seq: int | None = None) -> list[RecordedEvent]:
    """The newest events by seq, newest first; those below `before_seq` where it is given. Pruned ones are left out."""
    found: list[RecordedEvent] = []
    below = head().size if before_seq is None else before_seq
    while len(found) < limit and below > 0:
        bundle = _bundle_at(below - 1)
        if bundle is None:
            break
        if bundle.is_pruned:  # as is everything before it
            return found + held.newest(limit - len(found), below)
        upto = bundle.heads[: below - bundle.first_seq]
        wanted = range(bundle.first_seq + len(upto) - 1, bundle.first_seq - 1, -1)
        found += [bundle.event(seq) for seq in wanted[: limit - len(found)]]
        below = bundle.first_seq
    return found


def _bundle_at(seq: int) -> Bundle | None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM ledger_bundle WHERE first_seq <= %s ORDER BY first_seq DESC LIMIT 1", [seq]
        )
        row = cursor.fetchone()
    if row is None or row[0] + row[1] <= seq:
        return None
    return from_row(row)


def _rows_reaching(position: int) -> list[tuple]:  # type: ignore[type-arg]
    """Some rows in order, the first of which holds `position`: few enough to be unpacked one after the other.

    One statement, so that all rows are of one moment although compaction may be at work.
    """
    rows: list[tuple] = []  # type: ignore[type-arg]
    compressed_bytes = 0
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM ledger_bundle WHERE first_seq >= "
            "coalesce((SELECT max(first_seq) FROM ledger_bundle WHERE first_seq <= %s), 0) ORDER BY first_seq LIMIT %s",
            [position, _ROWS_AT_ONCE],
        )
        while compressed_bytes < _BYTES_AT_ONCE and (row := cursor.fetchone()) is not None:
            rows.append(row)
            compressed_bytes += sum(len(column) for column in row[4:] if column is not None)
    return rows
