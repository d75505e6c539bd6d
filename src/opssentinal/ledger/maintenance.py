"""Rewriting bundles without changing what they say: compaction, and the lock it shares with pruning and fsck.

Each group commit leaves one small bundle. Larger ones compress better and are read faster, so idle time merges neighbours.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from django.db import connection, transaction

from opssentinal.errors import IntegrityError, Overloaded
from opssentinal.ledger.bundle import Bundle, from_row, pack
from opssentinal.ledger.head import lock_head
from opssentinal.ledger.reader import read_range

BUNDLE_EVENTS = 2_048
# Compressed; about ten times as much text, all of which a reader of one event unpacks.
BUNDLE_BYTES = 1 << 20
# Retention counts from a bundle's newest event, so a quiet log must not gather months in one.
BUNDLE_SPAN_US = 86_400_000_000
# The newest bundles are merged only in portions, or each look would write them again.
_TAIL_ROWS_MIN = 16
_COMPACTED_LEVEL = 6
_ADVISORY_LOCK = 0x6F70734D  # "opsM"; any number that nothing else in this database uses
_LOCK_LOOKS_S = 0.2

_one_at_a_time = threading.Lock()


@contextmanager
def maintenance(wait_s: float = 0) -> Iterator[None]:
    """Hold the one lock under which compaction, pruning and erasure rewrite rows and fsck reads them.

    Within a process a lock; between processes and servers an advisory lock of the session on PostgreSQL, and on SQLite the
    lock of a file beside the database. Raises Overloaded if it is taken for longer than `wait_s` seconds.
    """
    deadline = time.monotonic() + wait_s
    if not _one_at_a_time.acquire(timeout=wait_s):
        raise Overloaded("The ledger's maintenance is running already.", retry_after_s=10)
    try:
        with _advisory_lock(deadline) if connection.vendor == "postgresql" else _file_lock(deadline):
            yield
    finally:
        _one_at_a_time.release()


@contextmanager
def _advisory_lock(deadline: float) -> Iterator[None]:
    with connection.cursor() as cursor:

        def taken() -> bool:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_ADVISORY_LOCK])
            return bool(cursor.fetchone()[0])

        _wait_until(taken, deadline)
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_ADVISORY_LOCK])


@contextmanager
def _file_lock(deadline: float) -> Iterator[None]:
    # Never the database file itself: closing it would drop SQLite's own locks.
    with Path(f"{connection.settings_dict['NAME']}-maintenance").open("ab") as file:

        def taken() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        _wait_until(taken, deadline)
        yield


def _wait_until(taken: Callable[[], bool], deadline: float) -> None:
    while not taken():
        if time.monotonic() >= deadline:
            raise Overloaded("Another process is maintaining the ledger.", retry_after_s=10)
        time.sleep(_LOCK_LOOKS_S)


class _Row(NamedTuple):
    """What merging needs to know of a bundle without opening it; `bytes` are compressed."""

    first_seq: int
    events: int
    recorded_from_us: int
    recorded_to_us: int
    bytes: int


def compact(pause: Callable[[], object] | None = None) -> int:
    """Merge neighbouring small bundles as far as the BUNDLE_ limits allow; return how many rows that saved.

    Each merge is a transaction of its own, so writers wait for milliseconds and a stop loses nothing. What has been merged
    stays as it is next time. `pause` is called after each merge; a true answer stops.
    """
    saved = 0
    with maintenance():
        for run in list(_runs()):
            saved += _merge(run)
            if pause is not None and pause():
                break
    return saved


def _runs() -> Iterator[list[_Row]]:
    """The groups of neighbours to merge, each within the limits of one bundle."""
    run: list[_Row] = []
    events = text_bytes = 0
    for row in _rows():
        events, text_bytes = events + row.events, text_bytes + row.bytes
        fits = (
            run
            and run[-1].first_seq + run[-1].events == row.first_seq
            and events <= BUNDLE_EVENTS
            and text_bytes <= BUNDLE_BYTES
            and row.recorded_to_us - run[0].recorded_from_us <= BUNDLE_SPAN_US
        )
        if not fits:
            if len(run) > 1:
                yield run
            run, events, text_bytes = [], row.events, row.bytes
        run.append(row)
    if len(run) >= _TAIL_ROWS_MIN:
        yield run


def _rows() -> Iterator[_Row]:
    position = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT first_seq, count, recorded_from_us, recorded_to_us, "
                "octet_length(heads) + octet_length(whos) + octet_length(whats) FROM ledger_bundle "
                "WHERE first_seq >= %s AND heads IS NOT NULL ORDER BY first_seq LIMIT 10000",
                [position],
            )
            rows = list(map(_Row._make, cursor.fetchall()))
        if not rows:
            return
        yield from rows
        position = rows[-1].first_seq + rows[-1].events


def _merge(run: list[_Row]) -> int:
    """Replace neighbours by one bundle; return how many rows that saved.

    Reading, compressing and comparing every leaf hash happen before the transaction, which only swaps the rows: writers of
    other processes wait for it by polling, and would starve behind longer ones. Nobody else rewrites these rows meanwhile,
    since we hold the maintenance lock; that they are as many as we read is checked all the same.
    """
    first_seq, end_seq = run[0].first_seq, run[-1].first_seq + run[-1].events
    old = list(read_range(first_seq, end_seq))
    merged = as_row(
        Bundle(
            first_seq,
            end_seq - first_seq,
            old[0].recorded_from_us,
            old[-1].recorded_to_us,
            [line for bundle in old for line in bundle.heads],
            [line for bundle in old for line in bundle.whos],
            [line for bundle in old for line in bundle.whats],
        )
    )
    if from_row(merged).leaf_hashes() != [leaf for bundle in old for leaf in bundle.leaf_hashes()]:
        raise IntegrityError(f"Compaction would change the events from seq {first_seq} to {end_seq}.")
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        lock_head(cursor)
        cursor.execute("DELETE FROM ledger_bundle WHERE first_seq >= %s AND first_seq < %s", [first_seq, end_seq])
        if cursor.rowcount != len(run):
            raise IntegrityError(f"Compaction found {cursor.rowcount} bundles instead of {len(run)}.")
        insert_row(cursor, merged)
    return len(run) - 1


def as_row(bundle: Bundle) -> tuple[Any, ...]:
    """The bundle as a row of `ledger_bundle`: with its text, compressed to stay, or pruned, with its leaf hashes."""
    place = (bundle.first_seq, bundle.count, bundle.recorded_from_us, bundle.recorded_to_us)
    if bundle.is_pruned:
        return (*place, None, None, None, bundle.pruned_leaf_hashes)
    columns = (pack(b"\n".join(lines), _COMPACTED_LEVEL) for lines in (bundle.heads, bundle.whos, bundle.whats))
    return (*place, *columns, None)


def insert_row(cursor: Any, row: tuple[Any, ...]) -> None:
    """Write a row made by `as_row`."""
    cursor.execute("INSERT INTO ledger_bundle VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", row)
