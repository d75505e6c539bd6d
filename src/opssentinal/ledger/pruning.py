"""Pruning: events recorded before a moment lose their text; their leaf hashes stay, so the tree still verifies.

c2sp.org/tlog-tiles calls it so: below the *minimum index* a log may no longer serve entries. A bundle counts by its newest
recorded_at, and the minimum index is a multiple of 256.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.db import connection, transaction

from opssentinal.errors import IntegrityError
from opssentinal.ledger import event_ids
from opssentinal.ledger.bundle import COLUMNS, Bundle, from_row
from opssentinal.ledger.head import head, lock_head, write_head
from opssentinal.ledger.maintenance import as_row, insert_row, maintenance
from opssentinal.merkle import TILE_WIDTH

# One transaction's worth. Enough rows that even bundles of one event reach the next multiple of 256.
_ROWS_AT_ONCE = 512
_EVENTS_AT_ONCE = 8_192
_MAINTENANCE_WAIT_S = 600
_PAGES_AT_ONCE = 1_000


class PruneReport(NamedTuple):
    """What pruning did, or would do: `events` lose their text, and the text below `minimum_index` is gone.

    `oldest_us` is the oldest recorded_at among them in µs since the epoch; None where there are none.
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


def prune(before_us: int, *, progress: Callable[[int], None] | None = None) -> PruneReport:
    """Remove the text of the events recorded before `before_us` (µs since the epoch).

    Goes in transactions of a few thousand events, each together with the ids it frees and the new minimum index: stopped in
    the middle, everything is true as far as it came, and the next run goes on. `progress` is told the events done so far.
    """
    with maintenance(wait_s=_MAINTENANCE_WAIT_S):
        wanted = preview(before_us)
        first = head().minimum_index
        while (minimum_index := head().minimum_index) < wanted.minimum_index:
            _prune_some(minimum_index, wanted.minimum_index)
            if progress is not None:
                progress(head().minimum_index - first)
        if wanted.events:
            _release_space()
    return wanted


def _aligned(seq: int) -> int:
    return seq - seq % TILE_WIDTH


def _prune_some(minimum_index: int, target: int) -> None:
    """Prune some bundles from the minimum index on, cutting the one that reaches beyond the last multiple of 256."""
    old, end = _next_bundles(minimum_index, target)
    new = [_pruned(bundle, end) for bundle in old]
    rest = old[-1].since(end) if old[-1].end_seq > end else None
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        locked = lock_head(cursor)
        if locked.minimum_index != minimum_index:
            raise IntegrityError("The minimum index moved while bundles were pruned.")
        cursor.execute(
            "DELETE FROM ledger_bundle WHERE first_seq >= %s AND first_seq <= %s", [minimum_index, old[-1].first_seq]
        )
        if cursor.rowcount != len(old):
            raise IntegrityError(f"Pruning found {cursor.rowcount} bundles instead of {len(old)}.")
        for bundle in (*new, *([rest] if rest else [])):
            insert_row(cursor, as_row(bundle))
        gone = ((event.source, event.id) for bundle in old for event in bundle.events() if event.seq < end)
        event_ids.delete(cursor, gone, end)
        write_head(cursor, locked._replace(minimum_index=end))


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
    count = min(bundle.end_seq, end) - bundle.first_seq
    hashes = b"".join(bundle.leaf_hashes()[:count])
    return Bundle(bundle.first_seq, count, bundle.recorded_from_us, bundle.recorded_to_us, [], [], [], hashes)


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
