"""What lies far behind is brought in whole row groups, several of them side by side: reading, unpacking and the engine's own work.

A row group that one transaction fills is compressed once and written straight to the file: 10 µs of processor per event in all,
instead of 17. Rows that come in smaller batches are copied into the table and the write-ahead log first, and are compressed again
with those that join them. So events that come fast are gathered in one transaction too, as long as nobody asks for them.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import cycle, islice
from typing import Final, NamedTuple

import duckdb

from opssentinal.ledger.bundle import Bundle
from opssentinal.search.duckdb import ingestion
from opssentinal.search.store import Corrupt, Read

# A row group of the engine. One row less and the rows are copied into the table and its log one by one.
PORTION_EVENTS: Final = 122_880
# A portion whose events have more than 2.5 KB of text on average ends early: of 8 KB each, one was too much for 128 MB of memory.
PORTION_TEXT_BYTES: Final = 300 << 20
# What the engine needs for each portion; more is written to disk for the time being.
PORTION_MB: Final = 128


class Stretch:
    """Consecutive bundles on their way into the index, to be gone through once. Raises Corrupt where there is a gap.

    Afterwards it knows the `position` after them, the `minimum_index` (0 where nothing was pruned), and the fingerprints of the event
    `before` them, where it came along, and of the `last` one; None where they are pruned.
    """

    def __init__(self, bundles: Iterable[Bundle], first_seq: int) -> None:
        self._bundles = bundles
        self.first_seq = self.position = first_seq
        self.minimum_index = 0
        self.before: bytes | None = None
        self.last: bytes | None = None

    def __iter__(self) -> Iterator[Bundle]:
        for bundle in self._bundles:
            rest = bundle
            if bundle.first_seq == self.first_seq - 1:
                if not bundle.is_pruned:
                    self.before = _fingerprint(bundle, 0)
                if bundle.count == 1:
                    continue
                rest = bundle.since(self.first_seq)
            if rest.first_seq != self.position:
                raise Corrupt(f"The ledger goes on at {rest.first_seq:,}, the index ends at {self.position:,}.")
            self.position = rest.end_seq
            if rest.is_pruned:
                self.minimum_index = rest.end_seq
            else:
                self.last = _fingerprint(rest)
            yield rest


class Reached(NamedTuple):
    """How far the index goes: see SearchStore for the three."""

    position: int = 0
    minimum_index: int = 0
    fingerprint: bytes | None = None

    def through(self, stretch: Stretch) -> Reached:
        """How far it goes with what follows. Raises Corrupt where that is of another ledger."""
        if stretch.before is not None and stretch.before != self.fingerprint:
            raise Corrupt("The index is not of this ledger.")
        minimum_index = max(self.minimum_index, stretch.minimum_index)
        return Reached(stretch.position, minimum_index, stretch.last or self.fingerprint)


def cut(bundles: Sequence[Bundle], seq: int) -> tuple[list[Bundle], list[Bundle]]:
    """The parts of the bundles before and from `seq` on."""
    before = [bundle.until(seq) for bundle in bundles if bundle.first_seq < seq]
    return before, [bundle.since(seq) for bundle in bundles if bundle.end_seq > seq]


def _fingerprint(bundle: Bundle, at: int = -1) -> bytes:
    """What tells one ledger's event from another's: the hash of its head, which erasure never changes."""
    return hashlib.sha256(bundle.heads[at]).digest()


def portions(
    connection: duckdb.DuckDBPyConnection, catalog: str, firsts: Iterable[int], read: Read, threads: int
) -> Generator[tuple[duckdb.DuckDBPyConnection, Stretch]]:
    """Yield the portions that begin at `firsts`, in order: the rows are in the transaction of that cursor, which whoever asks for
    the next one has committed before.

    That many `threads` fill portions meanwhile, each with a transaction of its own. Ends after one that holds too much text to be
    whole. Nothing is left of those that were not yielded.
    """
    to_come = iter(firsts)
    under_way: deque[tuple[duckdb.DuckDBPyConnection, Future[Stretch]]] = deque()
    stopped = threading.Event()
    with ExitStack() as stack:
        cursors = [stack.enter_context(connection.cursor()) for _ in range(threads)]
        for cursor in cursors:
            cursor.execute(f"USE {catalog}")
        free = cycle(cursors)
        pool = stack.enter_context(ThreadPoolExecutor(threads, thread_name_prefix="search-load"))
        stack.callback(stopped.set)
        while True:
            for first in islice(to_come, threads - len(under_way)):
                cursor = next(free)
                under_way.append((cursor, pool.submit(_fill, cursor, first, read, stopped)))
            if not under_way:
                return
            cursor, work = under_way.popleft()
            stretch = work.result()
            yield cursor, stretch
            if stretch.position < stretch.first_seq + PORTION_EVENTS:
                return  # what was filled meanwhile does not follow it


def _fill(cursor: duckdb.DuckDBPyConnection, first: int, read: Read, stopped: threading.Event) -> Stretch:
    cursor.execute("BEGIN")
    with closing(read(first, first + PORTION_EVENTS)) as bundles:
        stretch = Stretch(_until(stopped, bundles), first)
        ingestion.insert(cursor, stretch, PORTION_TEXT_BYTES)
    return stretch


def _until(stopped: threading.Event, bundles: Iterable[Bundle]) -> Iterator[Bundle]:
    """The bundles, until nobody waits for them any more: what is there by then is rolled back."""
    for bundle in bundles:
        if stopped.is_set():
            return
        yield bundle
