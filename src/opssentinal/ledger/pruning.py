"""Pruning: events recorded before a moment lose their text; their leaf hashes stay, so the tree still verifies.

c2sp.org/tlog-tiles calls it so: below the *minimum index* a log may no longer serve entries. A bundle counts by its newest
recorded_at, and the minimum index is a multiple of 256.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from django.db import connection, transaction

from opssentinal.errors import IntegrityError
from opssentinal.ledger import event_ids
from opssentinal.ledger.bundle import COLUMNS, Bundle, from_row
from opssentinal.ledger.head import head, lock_head, write_head
from opssentinal.ledger.maintenance import ALIGNMENT, compact, maintenance


class PruneReport(NamedTuple):
    """What pruning did, or would do: `events` lose their text, and the text below `minimum_index` is gone.

    `oldest_us` is the oldest recorded_at among them in µs since the epoch; None where there are none.
    """

    events: int
    minimum_index: int
    oldest_us: int | None


def preview(before_us: int) -> PruneReport:
    """What prune(before_us) would do now. An estimate from above by up to one bundle, since bundles are not cut yet."""
    minimum_index = head().minimum_index
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(first_seq) FROM ledger_bundle WHERE recorded_to_us >= %s AND first_seq >= %s",
            [before_us, minimum_index],
        )
        end = cursor.fetchone()[0]
        end = head().size if end is None else end
        cursor.execute(
            "SELECT min(recorded_from_us) FROM ledger_bundle WHERE first_seq >= %s AND first_seq < %s",
            [minimum_index, end],
        )
        oldest_us = cursor.fetchone()[0]
    target = max(end - end % ALIGNMENT, minimum_index)
    return PruneReport(target - minimum_index, target, oldest_us if target > minimum_index else None)


def prune(before_us: int, *, progress: Callable[[int], None] | None = None) -> PruneReport:
    """Remove the text of the events recorded before `before_us` (µs since the epoch), bundle by bundle.

    Each bundle goes in a transaction of its own, together with the ids it frees and the new minimum index: stopped in the
    middle, everything is true as far as it came, and the next run goes on. `progress` is told the events done so far.
    """
    compact(until_seq=_first_seq_recorded_since(before_us), include_tail=True)
    events = 0
    oldest_us: int | None = None
    with maintenance():
        while (bundle := _next_prunable(before_us)) is not None:
            _prune_bundle(bundle)
            events += bundle.count
            oldest_us = bundle.recorded_from_us if oldest_us is None else oldest_us
            if progress is not None:
                progress(events)
        _release_space()
    return PruneReport(events, head().minimum_index, oldest_us)


def _first_seq_recorded_since(us: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(first_seq) FROM ledger_bundle WHERE recorded_to_us >= %s", [us])
        found: int | None = cursor.fetchone()[0]
    return head().size if found is None else found


def _next_prunable(before_us: int) -> Bundle | None:
    """The bundle at the minimum index, if all of it is old enough and it ends on a multiple of 256."""
    minimum_index = head().minimum_index
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS} FROM ledger_bundle WHERE first_seq = %s", [minimum_index])
        row = cursor.fetchone()
    if row is None:
        return None
    bundle = from_row(row)
    if bundle.is_pruned:
        raise IntegrityError(f"The bundle at the minimum index {minimum_index} is pruned already.")
    return bundle if bundle.recorded_to_us < before_us and bundle.end_seq % ALIGNMENT == 0 else None


def _prune_bundle(bundle: Bundle) -> None:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        locked = lock_head(cursor)
        if locked.minimum_index != bundle.first_seq:
            raise IntegrityError("The minimum index moved while a bundle was pruned.")
        cursor.execute(
            "UPDATE ledger_bundle SET heads = NULL, whos = NULL, whats = NULL, leaf_hashes = %s "
            "WHERE first_seq = %s AND count = %s AND heads IS NOT NULL",
            [b"".join(bundle.leaf_hashes()), bundle.first_seq, bundle.count],
        )
        if cursor.rowcount != 1:
            raise IntegrityError(f"The bundle at seq {bundle.first_seq} changed while it was pruned.")
        event_ids.delete(cursor, ((event.source, event.id) for event in bundle.events()), bundle.end_seq)
        write_head(cursor, locked._replace(minimum_index=bundle.end_seq))


def _release_space() -> None:
    """Give freed pages back to the file system and leave none of the old text in the write-ahead log."""
    if connection.vendor != "sqlite":
        return  # autovacuum does; docs/guide/retention.md says what that means for the text
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA incremental_vacuum")
        cursor.fetchall()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.fetchall()
