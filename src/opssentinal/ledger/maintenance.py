"""Rewriting bundles without changing what they say: compaction, and the lock it shares with pruning.

Each group commit leaves one small bundle. Larger ones compress better and are read faster, so idle time merges neighbours
into bundles whose bounds are multiples of 256 (a tile's width), which is also what pruning cuts along.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from opssentinal.errors import IntegrityError, Overloaded
from opssentinal.ledger.bundle import Bundle, from_row, pack
from opssentinal.ledger.head import head, lock_head
from opssentinal.ledger.reader import read_range

ALIGNMENT = 256
BUNDLE_EVENTS = 2_048
_COMPACTED_LEVEL = 6
_EVENTS_AT_ONCE = 16_384
_ADVISORY_LOCK = 0x6F70734D  # "opsM"; any number that nothing else in this database uses

_one_at_a_time = threading.Lock()


@contextmanager
def maintenance() -> Iterator[None]:
    """Hold the one lock under which compaction, pruning and erasure rewrite rows; raises Overloaded if it is taken.

    Within a process a lock; between processes and servers an advisory lock of the session on PostgreSQL, and on SQLite the
    lock of a file beside the database.
    """
    if not _one_at_a_time.acquire(blocking=False):
        raise Overloaded("The ledger's maintenance is running already.", retry_after_s=10)
    try:
        with _advisory_lock() if connection.vendor == "postgresql" else _file_lock():
            yield
    finally:
        _one_at_a_time.release()


@contextmanager
def _advisory_lock() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_ADVISORY_LOCK])
        if not cursor.fetchone()[0]:
            raise Overloaded("Another server is maintaining the ledger.", retry_after_s=10)
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_LOCK])


@contextmanager
def _file_lock() -> Iterator[None]:
    # Never the database file itself: closing it would drop SQLite's own locks.
    with Path(f"{connection.settings_dict['NAME']}-maintenance").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Overloaded("Another process is maintaining the ledger.", retry_after_s=10) from error
        yield


def compact(
    *, until_seq: int | None = None, include_tail: bool = False, pause: Callable[[], object] | None = None
) -> int:
    """Merge small bundles into aligned ones of BUNDLE_EVENTS; return how many rows that saved.

    Each step is a transaction of its own, so writers wait a few milliseconds at most and a stop loses nothing. The newest
    events stay as they are until a whole bundle of them has gathered; with `include_tail` they are merged up to the last
    multiple of 256, which pruning wants. Only bundles below `until_seq` are looked at. `pause` is called between steps; a
    true answer stops.
    """
    saved = 0
    with maintenance():
        end = head().size if until_seq is None else until_seq
        position = 0
        while (run := _next_run(position, end, include_tail)) is not None:
            first_seq, end_seq = run
            saved += _merge(first_seq, end_seq)
            position = end_seq
            if pause is not None and pause():
                break
    return saved


def _next_run(position: int, end: int, include_tail: bool) -> tuple[int, int] | None:
    """The next range of seqs, from a bundle's beginning, that is worth merging; None when there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT first_seq, count FROM ledger_bundle WHERE first_seq >= %s AND first_seq < %s AND heads IS NOT NULL "
            "ORDER BY first_seq",
            [position, end],
        )
        run: list[tuple[int, int]] = []
        while rows := cursor.fetchmany(1000):
            for row in rows:
                if run and row[0] != run[-1][0] + run[-1][1]:
                    if len(run) > 1 and (found := _worth_merging(run, include_tail)):
                        return found
                    run = []
                if not run and _is_final(row):
                    continue
                run.append(row)
                if sum(count for _, count in run) >= _EVENTS_AT_ONCE and (found := _worth_merging(run, include_tail)):
                    return found
    return _worth_merging(run, include_tail)


def _is_final(row: tuple[int, int]) -> bool:
    first_seq, count = row
    return first_seq % ALIGNMENT == 0 and count % ALIGNMENT == 0 and count >= BUNDLE_EVENTS


def _worth_merging(run: list[tuple[int, int]], include_tail: bool) -> tuple[int, int] | None:
    if not run:
        return None
    first_seq, end_seq = run[0][0], run[-1][0] + run[-1][1]
    after = list(_bounds(first_seq, end_seq, include_tail))
    if after == [(first, first + count) for first, count in run] or len(after) >= len(run) and not include_tail:
        return None
    return first_seq, end_seq


def _bounds(first_seq: int, end_seq: int, include_tail: bool) -> Iterator[tuple[int, int]]:
    """Cut a range: a short first piece up to the alignment, whole bundles, and what is left."""
    at = first_seq
    while at < end_seq:
        full = at - at % ALIGNMENT + BUNDLE_EVENTS
        if full <= end_seq:
            stop = full
        elif include_tail and (aligned := end_seq - end_seq % ALIGNMENT) > at:
            stop = aligned
        else:
            stop = end_seq
        yield at, stop
        at = stop


def _merge(first_seq: int, end_seq: int) -> int:
    """Rewrite the rows of a range as aligned ones; return how many fewer they are.

    Reading, compressing and comparing every leaf hash happen before the transaction, which only swaps the rows: writers of
    other processes wait for it by polling, and would starve behind longer ones. Nobody else rewrites these rows meanwhile,
    since we hold the maintenance lock; that they are the same number of rows is checked all the same.
    """
    old = list(read_range(first_seq, end_seq))
    if not old or old[0].first_seq != first_seq or old[-1].end_seq != end_seq or any(b.is_pruned for b in old):
        raise IntegrityError(f"The bundles from seq {first_seq} to {end_seq} changed under maintenance.")
    new = [_as_row(bundle) for bundle in _rebundled(old)]
    before = [leaf for bundle in old for leaf in bundle.leaf_hashes()]
    if [leaf for row in new for leaf in from_row(row).leaf_hashes()] != before:
        raise IntegrityError(f"Compaction would change the events from seq {first_seq} to {end_seq}.")
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        lock_head(cursor)
        cursor.execute("DELETE FROM ledger_bundle WHERE first_seq >= %s AND first_seq < %s", [first_seq, end_seq])
        if cursor.rowcount != len(old):
            raise IntegrityError(f"Compaction deleted {cursor.rowcount} bundles instead of {len(old)}.")
        for row in new:
            cursor.execute("INSERT INTO ledger_bundle VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", row)
    return len(old) - len(new)


def _rebundled(old: Sequence[Bundle]) -> Iterator[Bundle]:
    first_seq = old[0].first_seq
    heads = [line for bundle in old for line in bundle.heads]
    whos = [line for bundle in old for line in bundle.whos]
    whats = [line for bundle in old for line in bundle.whats]
    for begin, end in _bounds(first_seq, old[-1].end_seq, include_tail=True):
        inside = [bundle for bundle in old if bundle.first_seq < end and bundle.end_seq > begin]
        part = slice(begin - first_seq, end - first_seq)
        yield Bundle(
            begin, end - begin,
            min(bundle.recorded_from_us for bundle in inside), max(bundle.recorded_to_us for bundle in inside),
            heads[part], whos[part], whats[part],
        )  # fmt: skip


def _as_row(bundle: Bundle) -> tuple[Any, ...]:
    columns = [pack(lines, _COMPACTED_LEVEL) for lines in (bundle.heads, bundle.whos, bundle.whats)]
    return (bundle.first_seq, bundle.count, bundle.recorded_from_us, bundle.recorded_to_us, *columns, None)
