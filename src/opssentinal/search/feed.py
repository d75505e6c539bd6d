"""The follower that feeds search: it brings the ledger's events into the index, and keeps the index true.

It alone writes to the index. Recovery is its normal work: start-up, a lost file, a restored database and a pruned ledger
all end in "go on from the position", after the position has been found to be one of this ledger.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from django.db import connection

from opssentinal.errors import OpsSentinalError, Unavailable
from opssentinal.followers.backoff import Backoff
from opssentinal.ledger import reader
from opssentinal.search.index import Index, Opener, remove
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import Corrupt, SearchStore

# Events gather this long before they are brought, unless a question waits: a batch costs the same for 1 or 2,000.
GATHER_S = 0.3
# A batch: large enough for the engine, small enough to stop and answer in between.
BATCH_EVENTS = 40_000
# Further behind than this at the start, the index counts as being rebuilt and questions do not wait for it.
REBUILDING_EVENTS = 50_000
_REPLACE_AGAIN_S = 30.0

_log = logging.getLogger(__name__)


class Feed:
    """The thread that feeds an Index. `start` returns at once; `stop` after the batch in hand."""

    def __init__(self, index: Index, opener: Opener) -> None:
        self._index = index
        self._opener = opener
        self._changed = threading.Condition()
        self._asked = 0
        self._served = 0
        self._stopping = False
        self._verified: SearchStore | None = None
        self._made: Path | None = None
        self._replace_at = 0.0
        self._reindexing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="search-feed", daemon=True)
        self.ledger_size = 0
        self.is_rebuilding = False
        self._damage: Corrupt | None = None
        self.error: str | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Stop after the batch in hand."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def report(self, damage: Corrupt) -> None:
        """Somebody met damage while reading: the index is thrown away at the next turn."""
        with self._changed:
            self._damage = damage
            self._asked += 1
            self._changed.notify_all()

    @property
    def is_reindexing(self) -> bool:
        """Whether a second index is being built."""
        return self._reindexing.locked()

    def catch_up(self, timeout_s: float) -> bool:
        """Bring everything that is in the ledger by now; return whether the index has it all.

        Does not wait while the index is being rebuilt or cannot be fed, and at most `timeout_s`.
        """
        with self._changed:
            self._asked += 1
            ticket = self._asked
            self._changed.notify_all()
            done = self._changed.wait_for(
                lambda: self._served >= ticket or self.is_rebuilding or self._stopping, timeout=timeout_s
            )
            return done and self._served >= ticket and not self.is_rebuilding and self.error is None

    def reindex(self, progress: Callable[[int, int], None], stop: Interruption) -> None:
        """Build a second index from the whole ledger, then exchange the two. Questions are answered meanwhile.

        `progress` gets the events done and all there are. Raises Unavailable where one is being built already.
        """
        if not self._reindexing.acquire(blocking=False):
            raise Unavailable("The search index is being built again already.", code="reindexing")
        made = self._index.path.with_name(self._index.path.name + ".reindex")
        try:
            remove(made)
            store = self._opener(made)
            try:
                while _bring(store, stop.check) < (size := reader.head().size):
                    progress(store.position, size)
                progress(store.position, size)
            finally:
                store.close()
            self._adopt(made, stop)
        finally:
            remove(made)
            self._reindexing.release()
            connection.close()

    def _adopt(self, made: Path, stop: Interruption) -> None:
        """Hand a finished file to the thread and wait until it is in use."""
        with self._changed:
            self._made, self._replace_at = made, 0.0
            self._changed.notify_all()
            try:
                while self._made == made and not self._stopping:
                    stop.check()
                    self._changed.wait(0.1)
            finally:
                if self._made == made:
                    self._made = None

    def _run(self) -> None:
        backoff = Backoff(first_s=0.2, most_s=10.0)
        while not self._stopping:
            ticket = self._asked
            pause_s = GATHER_S
            try:
                self._index.open()
                if self._damage is not None:
                    raise self._damage
                self._follow()
                self.error = None
                backoff.reset()
            except Corrupt as reason:
                self._throw_away(reason)
                continue
            except Exception as error:  # noqa: BLE001
                # Whatever it is, it is not lost: it is in the status, answers say that they are incomplete, and the next
                # turn tries again.
                _log.warning("Search cannot be fed: %s", error, exc_info=not isinstance(error, Unavailable))
                self.error = str(error) or type(error).__name__
                connection.close()
                pause_s = backoff.next_s()
            self._rest(ticket, pause_s)
        connection.close()

    def _rest(self, served: int, pause_s: float) -> None:
        """Tell who waits that its turn has been, then wait for the next: a question, or time."""
        with self._changed:
            self._served = served
            self._changed.notify_all()
            failed = self.error is not None
            self._changed.wait_for(
                lambda: self._stopping or self._is_made_now() or (self._asked > served and not failed), timeout=pause_s
            )

    def _is_made_now(self) -> bool:
        return self._made is not None and self._replace_at == 0.0

    def _throw_away(self, reason: Corrupt) -> None:
        self._damage = None
        try:
            self._index.discard(reason)
        except (OpsSentinalError, OSError, Corrupt) as error:
            _log.error("The search index cannot be begun anew: %s", error)
            with self._changed:
                self.error = str(error)
                self._changed.wait_for(lambda: self._stopping, timeout=1.0)

    def _follow(self) -> None:
        """One turn: forget what was pruned, bring what is new, and exchange the file where one is ready."""
        self._exchange()
        store = self._index.store
        head = reader.head()
        self.ledger_size = head.size
        if store.position > head.size:
            raise Corrupt(f"The index reaches to {store.position:,}, the ledger only to {head.size:,}.")
        if head.minimum_index > store.minimum_index:
            _log.info("search forgets %s events", store.forget(head.minimum_index))
        if store is not self._verified:
            behind = head.size - store.position
            self.is_rebuilding = behind > REBUILDING_EVENTS
        while store.position < head.size or store is not self._verified:
            _bring(store)
            self._verified = store
            if self._stopping:
                return
        if self.is_rebuilding:
            with self._changed:
                self.is_rebuilding = False
                self._changed.notify_all()
        if not store.is_clean and self._made is None:
            self._rewrite(store)

    def _rewrite(self, store: SearchStore) -> None:
        """Write a file without the bytes of forgotten events."""
        made = self._index.path.with_name(self._index.path.name + ".rewritten")
        remove(made)
        store.rewrite(made)
        self._made, self._replace_at = made, 0.0
        self._exchange()

    def _exchange(self) -> None:
        """Use the file that was made, as soon as no question is under way (exports may take long)."""
        made = self._made
        if made is None or time.monotonic() < self._replace_at:
            return
        if not self._index.replace(made):
            self._replace_at = time.monotonic() + _REPLACE_AGAIN_S
            return
        with self._changed:
            self._made = None
            self._changed.notify_all()


def _bring(store: SearchStore, check: Callable[[], None] = lambda: None) -> int:
    """Bring one batch from the ledger; return the new position. Begins one event early, which the store compares."""
    check()
    bundles = list(reader.bundles_after(max(store.position - 1, 0), BATCH_EVENTS))
    return store.ingest(bundles)
