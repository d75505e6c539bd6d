"""Pruning: events recorded before a moment lose their text; their leaf hashes stay, so the tree still verifies.

c2sp.org/tlog-tiles calls it so: below the *minimum index* a log may no longer serve entries. A bundle counts by its newest
recorded_at, and the minimum index is a multiple of 256.

Events under a legal hold are lifted out of their bundle in the same transaction (`ledger.held`), and let go by a later run
when no hold wants them any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from opssentinal.errors import IntegrityError
from opssentinal.events.model import to_us
from opssentinal.formats.matching import matcher
from opssentinal.ledger import event_ids, held
from opssentinal.ledger.bundle import COLUMNS, Bundle, from_row
from opssentinal.ledger.head import head, lock_head, write_head
from opssentinal.ledger.held import HeldEvent
from opssentinal.ledger.maintenance import as_row, insert_row, maintenance
from opssentinal.merkle import TILE_WIDTH
from opssentinal.query import Filter

# One transaction's worth. Enough rows that even bundles of one event reach the next multiple of 256.
_ROWS_AT_ONCE = 512
_EVENTS_AT_ONCE = 8_192
_MAINTENANCE_WAIT_S = 600
_PAGES_AT_ONCE = 1_000


# The filters of the holds in force, asked again inside each transaction: of a hold that is placed while pruning runs, the
# events that are still there when it commits are held.
Holds = Callable[[], tuple[Filter, ...]]
# The moment (µs since the epoch) before which events go, asked again likewise; None is for ever.
Cutoff = Callable[[], int | None]


def no_holds() -> tuple[Filter, ...]:
    """Holds where there are none."""
    return ()


class PruneReport(NamedTuple):
    """What pruning did, or would do: `events` lose their text, and the text below `minimum_index` is gone but for held events.

    `oldest_us` is the oldest recorded_at among them in µs since the epoch; None where there are none. A preview does not
    look into events, and so counts those with them that a hold will keep.
    """

    events: int
    minimum_index: int
    oldest_us: int | None


def preview(before_us: int) -> PruneReport:
    """What prune(before_us) would do now."""
    minimum_index, size = head().minimum_index, head().size
    with connection.cursor() as cursor:
        # recorded_at never runs backwards, so the first bundle that is too young ends what can go.
        cursor.execute(
            "SELECT min(first_seq) FROM ledger_bundle WHERE recorded_to_us >= %s AND first_seq >= %s",
            [before_us, minimum_index],
        )
        end = cursor.fetchone()[0]
        target = max(_aligned(size if end is None else end), minimum_index)
        cursor.execute("SELECT recorded_from_us FROM ledger_bundle WHERE first_seq = %s", [minimum_index])
        oldest = cursor.fetchone()
    return PruneReport(target - minimum_index, target, oldest[0] if oldest and target > minimum_index else None)


def prune(
    before_us: int | Cutoff, *, holds: Holds = no_holds, progress: Callable[[int], None] | None = None
) -> PruneReport:
    """Remove the text of the events recorded before `before_us` (µs since the epoch), but of those that `holds` want.

    Goes in transactions of a few thousand events, each together with the ids it frees, the events it lifts and the new
    minimum index: stopped in the middle, everything is true as far as it came, and the next run goes on. Then lets go of
    what was lifted by earlier runs and is not wanted any more. `progress` is told the events done so far. Where the cut-off
    is asked for, a retention that is lengthened meanwhile ends the run where the longer one does.
    """
    cutoff = before_us if callable(before_us) else lambda: before_us
    with maintenance(wait_s=_MAINTENANCE_WAIT_S):
        first, had = head().minimum_index, held.totals().events
        before = cutoff()
        wanted = _wanted(before)
        oldest = wanted.oldest_us
        while (minimum_index := head().minimum_index) < wanted.minimum_index:
            if cutoff() != before:
                before = cutoff()
                wanted = _wanted(before)
                continue
            _prune_some(minimum_index, wanted.minimum_index, cutoff, before, holds)
            if progress is not None:
                progress(head().minimum_index - first)
        _let_go(cutoff, holds)
        minimum_index = head().minimum_index
        events = minimum_index - first + had - held.totals().events
        if events:
            _release_space()
    return PruneReport(events, minimum_index, oldest if minimum_index > first else None)


def _wanted(before_us: int | None) -> PruneReport:
    return PruneReport(0, head().minimum_index, None) if before_us is None else preview(before_us)


def _aligned(seq: int) -> int:
    return seq - seq % TILE_WIDTH


def _prune_some(minimum_index: int, target: int, cutoff: Cutoff, before_us: int | None, holds: Holds) -> None:
    """Prune some bundles from the minimum index on, cutting the one that reaches beyond the last multiple of 256.

    Does nothing where the holds or the cut-off changed meanwhile; then they have to be compared again.
    """
    old, end = _next_bundles(minimum_index, target)
    new = [_pruned(bundle, end) for bundle in old]
    rest = old[-1].since(end) if old[-1].end_seq > end else None
    filters = holds()
    kept, gone = _parted((bundle.until(end) for bundle in old), filters)
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        locked = lock_head(cursor)
        if locked.minimum_index != minimum_index:
            raise IntegrityError("The minimum index moved while bundles were pruned.")
        # Changing a hold or the retention appends an event and so holds the head: it is wholly before us or wholly after.
        if holds() != filters or cutoff() != before_us:
            return
        cursor.execute(
            "DELETE FROM ledger_bundle WHERE first_seq >= %s AND first_seq <= %s", [minimum_index, old[-1].first_seq]
        )
        if cursor.rowcount != len(old):
            raise IntegrityError(f"Pruning found {cursor.rowcount} bundles instead of {len(old)}.")
        for bundle in (*new, *([rest] if rest else [])):
            insert_row(cursor, as_row(bundle))
        held.insert(cursor, kept)
        event_ids.delete(cursor, gone, end)
        write_head(cursor, locked._replace(minimum_index=end))


def _parted(bundles: Iterable[Bundle], filters: Sequence[Filter]) -> tuple[list[HeldEvent], list[tuple[str, UUID]]]:
    """The events that a filter wants, as they will be kept, and source and id of the others."""
    tests = [matcher(filter_) for filter_ in filters]
    kept: list[HeldEvent] = []
    gone: list[tuple[str, UUID]] = []
    for bundle in bundles:
        for event, *lines in zip(bundle.events(), bundle.heads, bundle.whos, bundle.whats, strict=True):
            if any(test(event) for test in tests):
                kept.append(HeldEvent(event.seq, to_us(event.recorded_at), event.id, *lines))
            else:
                gone.append((event.source, event.id))
    return kept, gone


def _let_go(cutoff: Cutoff, holds: Holds) -> None:
    """Remove the held events recorded before the cut-off that no hold wants any more."""
    position = 0
    end = head().minimum_index
    while rows := held.in_range(position, end, _EVENTS_AT_ONCE):
        filters, before_us = holds(), cutoff()
        if before_us is None:
            return
        tests = [matcher(filter_) for filter_ in filters]
        past = [row.event() for row in rows if row.recorded_at_us < before_us]
        unwanted = [event for event in past if not any(test(event) for test in tests)]
        if unwanted:
            with transaction.atomic(durable=True), connection.cursor() as cursor:
                lock_head(cursor)
                if holds() != filters or cutoff() != before_us:
                    continue
                held.delete(cursor, [event.seq for event in unwanted])
                event_ids.delete(cursor, [(event.source, event.id) for event in unwanted], end)
        position = rows[-1].seq + 1


def _next_bundles(minimum_index: int, target: int) -> tuple[list[Bundle], int]:
    """The bundles to prune next and the seq at which to cut: a multiple of 256, at most `target`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM ledger_bundle WHERE first_seq >= %s AND first_seq < %s ORDER BY first_seq LIMIT %s",
            [minimum_index, target, _ROWS_AT_ONCE],
        )
        bundles: list[Bundle] = []
        events = 0
        while events < _EVENTS_AT_ONCE and (row := cursor.fetchone()) is not None:
            try:
                bundles.append(from_row(row))
            except IntegrityError:
                if events >= TILE_WIDTH:
                    break  # what comes before the damage goes first; the next step meets it at its beginning
                raise
            events += bundles[-1].count
    if not bundles or bundles[0].first_seq != minimum_index or any(bundle.is_pruned for bundle in bundles):
        raise IntegrityError(f"There is no text to prune at the minimum index {minimum_index}.")
    end = min(_aligned(bundles[-1].end_seq), target)
    return [bundle for bundle in bundles if bundle.first_seq < end], end


def _pruned(bundle: Bundle, end: int) -> Bundle:
    bundle = bundle.until(end)
    hashes = b"".join(bundle.leaf_hashes())
    return Bundle(bundle.first_seq, bundle.count, bundle.recorded_from_us, bundle.recorded_to_us, [], [], [], hashes)


def _release_space() -> None:
    """Give freed pages back to the file system and leave none of the old text in the write-ahead log."""
    if connection.vendor != "sqlite":
        return  # autovacuum does; docs/guide/retention.md says what that means for the text
    with connection.cursor() as cursor:
        # In portions, each in its turn among the writers: giving back gigabytes at once would hold all of them up.
        before, free = None, _free_pages(cursor)
        while free and free != before:
            with transaction.atomic():
                cursor.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
            before, free = free, _free_pages(cursor)
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _free_pages(cursor: Any) -> int:
    return int(cursor.execute("PRAGMA freelist_count").fetchone()[0])
