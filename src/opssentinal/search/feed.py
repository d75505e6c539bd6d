"""The follower that feeds search: it brings the ledger's events into the index, and keeps the index true.

It alone writes to the index. Recovery is its normal work: start-up, a lost file, a restored database and a pruned ledger
all end in "go on from the position", after the position has been found to be one of this ledger.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from django.db import connection

from opssentinal.errors import OpsSentinalError, Unavailable
from opssentinal.followers.backoff import Backoff
from opssentinal.ledger import held, reader
from opssentinal.ledger.bundle import Bundle
from opssentinal.search.index import Index, Opener, is_whole, remove
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import Corrupt, GivenUp, SearchStore, Unsynced

# Events gather this long before they are brought, unless a question waits: a batch costs the same for 1 or 2,000.
GATHER_S = 0.3
# While nobody asks, what comes faster than this many events in GATHER_S need not be found at once: the store waits until it has
# a portion that is cheap to take in. A question finds them all, and where one has waited this lately the next may come before the
# portion is whole, which would have cost more than it saved.
FAST_EVENTS = 2_000
ASKED_LATELY_S = 5.0
# And they gather for longer, since a statement costs 10 ms to plan: after a stream has ended, its last events wait for two of these.
GATHER_FAST_S = 0.45
# After so long without anything new, the index's file is written.
SETTLES_AFTER_S = 10.0
# A batch: large enough for the engine, small enough to stop and answer in between; with one bundle more still one statement.
BATCH_EVENTS = 36_864
# And of text: the engine and we hold it a few times over at once, and a batch that kills the process would come again.
BATCH_BYTES = 24 << 20
# As many events are brought in batches where they were too large for a portion, of which each trial costs as much as these.
LOAD_AGAIN_EVENTS = 250_000
# Further behind than this at the start, the index counts as being rebuilt and questions do not wait for it.
REBUILDING_EVENTS = 50_000
# A new file comes into use when nobody reads the old one. Where there is always somebody, new questions are held back for a
# moment this often.
_HOLD_BACK_EVERY_S = 30.0
_HOLD_BACK_S = 0.2
# A second file that could not be written is tried again after this.
REWRITE_AGAIN_S = 300.0
# What failed once mostly goes well at the next turn, which comes in a fraction of a second.
_NEXT_TURN_S = 1.0
# Questions fail soon where the engine has given the file up; those that do not end with the store.
_LET_GO_S = 2.0

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _NewFile:
    """An index file that is finished, closed, and to be used instead of the present one."""

    path: Path
    is_used: bool = False


class Feed:
    """The thread that feeds an Index. `start` returns at once; `stop` after the batch in hand."""

    def __init__(self, index: Index, opener: Opener) -> None:
        self._index = index
        self._opener = opener
        self._changed = threading.Condition()
        self._asked = 0
        self._asked_at = 0.0
        self._served = 0
        # The index's position at the end of the last turn that went well.
        self._reached = 0
        self._stopping = False
        self._verified: SearchStore | None = None
        self._forgotten: tuple[SearchStore, int, int] | None = None
        self._new: _NewFile | None = None
        self._hold_back_at = 0.0
        self._rewrite_at = 0.0
        self._brought_at = 0.0
        self._reindexing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="search-feed", daemon=True)
        self.ledger_size = 0
        self.is_rebuilding = False
        self._damage: tuple[SearchStore, Corrupt] | None = None
        self.error: str | None = None

    def start(self) -> None:
        """Begin to follow, and remove new files that a crash kept from coming into use."""
        for name in ("reindex", "rewritten"):
            try:
                remove(self._beside(name))
            except OSError as error:  # a new one removes it before it is made
                _log.warning("What is left of a new search index cannot be removed: %s", error)
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Stop after the batch in hand."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def report(self, store: SearchStore, damage: Corrupt) -> None:
        """Somebody met damage while reading a store: it is thrown away at the next turn, if it is in use then."""
        with self._changed:
            self._damage = store, damage
            self._asked += 1
            self._changed.notify_all()

    @property
    def is_reindexing(self) -> bool:
        """Whether a second index is being built."""
        return self._reindexing.locked()

    def is_nearly_there(self, position: int) -> bool:
        """Whether an index that is so far has something, and lacks no more than what came lately."""
        return position > 0 and not self._is_far_behind(position)

    def _is_far_behind(self, position: int) -> bool:
        return self.ledger_size - position > REBUILDING_EVENTS

    def catch_up(self, timeout_s: float) -> int | None:
        """Bring everything that is in the ledger by now; return the position of an index that has it all, None where it has not.

        Does not wait while the index is being rebuilt, a moment while it cannot be fed, and at most `timeout_s`. Afterwards it
        may be exchanged for one that lacks the last events, or begun anew, at any moment: who reads compares the position.
        """
        with self._changed:
            self._asked += 1
            self._asked_at = time.monotonic()
            ticket = self._asked
            self._changed.notify_all()

            def is_over() -> bool:
                return self._served >= ticket or self.is_rebuilding or self._stopping

            self._changed.wait_for(lambda: is_over() or self.error is not None, timeout=timeout_s)
            if self.error is not None:
                self._changed.wait_for(is_over, timeout=min(timeout_s, _NEXT_TURN_S))
            has_all = self._served >= ticket and not self.is_rebuilding and self.error is None
            return self._reached if has_all else None

    def reindex(self, progress: Callable[[int, int], None], stop: Interruption) -> None:
        """Build a second index from the whole ledger, then exchange the two. Questions are answered meanwhile.

        `progress` gets the events done and all there are. Raises Unavailable where one is being built already, or the new one
        cannot be written: then the one in use stays.
        """
        if not self._reindexing.acquire(blocking=False):
            raise Unavailable("The search index is being built again already.", code="reindexing")
        made = self._beside("reindex")
        try:
            self._fill(made, progress, stop)
            self._adopt(made, stop)
        except (Corrupt, OSError) as error:  # of the new file: nothing is wrong with the one in use
            raise _unwritten(str(error)) from error
        finally:
            with suppress(OSError):  # what is left of it is removed by the next start, and before the next one is built
                remove(made)
            self._reindexing.release()
            connection.close()

    def _fill(self, made: Path, progress: Callable[[int, int], None], stop: Interruption) -> None:
        """Bring the whole ledger into a new file, and close it."""
        remove(made)
        store = self._opener(made)
        try:
            with closing(_bring_all(store)) as positions:
                for position in positions:
                    stop.check()
                    progress(position, max(position, reader.head().size))
            store.ingest([])
        finally:
            store.close()
        if not is_whole(made):
            raise _unwritten("its log could not be written into it.")

    def _beside(self, name: str) -> Path:
        return self._index.path.with_name(f"{self._index.path.name}.{name}")

    def _adopt(self, made: Path, stop: Interruption) -> None:
        """Hand a finished file to the thread and wait until it is in use. Raises Unavailable where that does not happen."""
        new = _NewFile(made)
        with self._changed:
            self._wait_for(lambda: self._new is None, stop)
            self._new = new
            try:
                self._wait_for(lambda: self._new is not new, stop)
            finally:
                if self._new is new:
                    self._new = None
        if not new.is_used:
            raise Unavailable("The new index could not be put in place.", hint="Look into the log, and try again.")

    def _wait_for(self, reached: Callable[[], bool], stop: Interruption) -> None:
        while not reached():
            stop.check()
            if self._stopping:
                raise Unavailable("Search is stopping.", hint="Build the index again when it has started.")
            self._changed.wait(0.1)

    def _run(self) -> None:
        backoff = Backoff(first_s=0.2, most_s=10.0)
        while not self._stopping:
            ticket = self._asked
            pause_s = GATHER_S
            try:
                self._index.open()
                self._meet_damage()
                self._follow()
                self._reached = self._index.store.position
                if self._index.store.taken > self._index.store.position:
                    pause_s = GATHER_FAST_S
                self._tell(None)
                backoff.reset()
            except Corrupt as reason:
                self._throw_away(reason)
                continue
            except Exception as error:  # noqa: BLE001
                # Whatever it is, it is not lost: it is in the status, answers say that they are incomplete, and the next
                # turn tries again.
                _log.warning("Search cannot be fed: %s", error, exc_info=not isinstance(error, Unavailable))
                self._tell(str(error) or type(error).__name__)
                connection.close()
                if isinstance(error, GivenUp):
                    self._index.close(_LET_GO_S)
                pause_s = backoff.next_s()
            self._rest(ticket, pause_s)
        with suppress(OpsSentinalError, Corrupt):  # what waits is brought again by the next start
            self._index.store.ingest([])
        connection.close()

    def _meet_damage(self) -> None:
        """Raise the damage that was reported, unless it was met in a store that is not in use any more."""
        with self._changed:
            reported, self._damage = self._damage, None
        if reported is not None and reported[0] is self._index.store:
            raise reported[1]

    def _tell(self, error: str | None) -> None:
        """Say why the index cannot be fed, or that it can."""
        with self._changed:
            self.error = error
            self._changed.notify_all()

    def _rest(self, served: int, pause_s: float) -> None:
        """Tell who waits that its turn has been, if it went well, then wait for the next: a question, or time."""
        with self._changed:
            failed = self.error is not None
            if not failed:
                self._served = served
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopping or (self._asked > served and not failed), timeout=pause_s)

    def _throw_away(self, reason: Corrupt) -> None:
        try:
            self._index.discard(reason)
        except (OpsSentinalError, OSError, Corrupt) as error:
            _log.error("The search index cannot be begun anew: %s", error)
            self._tell(str(error) or type(error).__name__)
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, timeout=1.0)

    def _follow(self) -> None:
        """One turn: forget what was pruned, bring what is new, and exchange the file where one is ready."""
        self._exchange()
        self._index.check_file()
        store = self._index.store
        head = reader.head()
        self.ledger_size = head.size
        if store.taken > head.size:
            raise Corrupt(f"The index reaches to {store.taken:,}, the ledger only to {head.size:,}.")
        self._forget(store, head.minimum_index)
        if store is not self._verified:
            with self._changed:
                self.is_rebuilding = self._is_far_behind(store.position)
                self._changed.notify_all()  # nobody waits for an index that is being rebuilt
        before = store.taken
        if before < head.size or store is not self._verified:
            with closing(_bring_all(store)) as positions:
                for _ in positions:
                    self._verified = store
                    self._brought_at = time.monotonic()
                    if self._stopping:
                        return
        is_asked = self._asked > self._served or time.monotonic() - self._asked_at < ASKED_LATELY_S
        if is_asked or store.taken - before < FAST_EVENTS:
            store.ingest([])
        if self.is_rebuilding:
            with self._changed:
                self.is_rebuilding = False
                self._changed.notify_all()
        if not store.is_clean and self._new is None and time.monotonic() >= self._rewrite_at:
            self._rewrite(store)
        elif time.monotonic() - self._brought_at > SETTLES_AFTER_S:
            store.settle()

    def _forget(self, store: SearchStore, minimum_index: int) -> None:
        """Forget what was pruned, and what was held below it until now; once for each store that comes into use."""
        # Read before what is held, so that whatever changes in between is seen at the next turn.
        state = (store, minimum_index, held.totals().released)
        if minimum_index and state != self._forgotten:
            if forgotten := store.forget(minimum_index, held.all_seqs()):
                _log.info("search forgets %s events", forgotten)
            self._forgotten = state

    def _rewrite(self, store: SearchStore) -> None:
        """Write a file without the bytes of forgotten events. Where it cannot be written the one in use stays, until a later turn."""
        made = self._beside("rewritten")
        try:
            remove(made)
            store.rewrite(made)
        except (Unsynced, Unavailable, OSError) as error:  # any other Corrupt is of what was read
            _log.warning("The bytes of forgotten events stay in the search index for now: %s", error)
            self._rewrite_at = time.monotonic() + REWRITE_AGAIN_S
            with suppress(OSError):
                remove(made)
            if isinstance(error, Unsynced | GivenUp):
                raise GivenUp(str(error)) from error
            return
        with self._changed:
            if self._new is None:
                self._new = _NewFile(made)
            else:
                remove(made)  # an index that was built again meanwhile is as good
        self._exchange()

    def _exchange(self) -> None:
        """Use the new file as soon as nobody reads the old one (exports may take long)."""
        new = self._new
        if new is None:
            return
        patience_s = 0.0
        if (now := time.monotonic()) >= self._hold_back_at:
            patience_s, self._hold_back_at = _HOLD_BACK_S, now + _HOLD_BACK_EVERY_S
        is_over = True
        try:
            is_over = new.is_used = self._index.replace(new.path, patience_s)
        finally:
            with self._changed:
                if is_over and self._new is new:
                    self._new = None
                    self._changed.notify_all()


def _unwritten(reason: str) -> Unavailable:
    return Unavailable(
        f"The new index could not be written: {reason}",
        hint="The one in use is as it was. Look at the disk, and try again.",
    )


def _bring_all(store: SearchStore) -> Generator[int]:
    """Bring everything that is in the ledger by now, in large portions as far as that goes. Yield what is taken each time.

    The last events wait until something more is ingested.
    """
    size, load_from, before = reader.head().size, 0, -1
    # At least once, since a batch of nothing new compares too; and no further where nothing comes: the ledger is another one.
    while before < store.taken < size or before < 0:
        before = store.taken
        if before >= load_from:
            yield from store.load(size, _portion)
            load_from = store.taken + LOAD_AGAIN_EVENTS
        yield _bring(store)


def _portion(first_seq: int, end_seq: int) -> Generator[Bundle]:
    """The events of a portion and the one before it, which the store compares; in a thread that goes when the portion is read."""
    try:
        for bundle in reader.bundles_after(max(first_seq - 1, 0), end_seq - first_seq + 1):
            if bundle.first_seq >= end_seq:  # a piece of one that was pruned
                return
            yield bundle.until(end_seq)
    finally:
        connection.close()


def _bring(store: SearchStore) -> int:
    """Bring one batch from the ledger; return what is taken. Begins one event early, which the store compares."""
    bundles = _batch(reader.bundles_after(max(store.taken - 1, 0), BATCH_EVENTS))
    return store.ingest(list(bundles), may_wait=True)


def _batch(bundles: Iterable[Bundle]) -> Iterator[Bundle]:
    """As many bundles as hold BATCH_BYTES of text, one more at most; the rest is not even read."""
    text_bytes = 0
    for bundle in bundles:
        yield bundle
        text_bytes += sum(sum(map(len, lines)) for lines in (bundle.heads, bundle.whos, bundle.whats))
        if text_bytes >= BATCH_BYTES:
            return
