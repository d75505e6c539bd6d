"""The follower that feeds search: it brings the ledger's events into the index, and keeps the index true.

It alone writes to the index. Recovery is its normal work: start-up, a lost file, a restored database and a pruned ledger
all end in "go on from the position", after the position has been found to be one of this ledger.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing, suppress

from django.db import connection

from opssentinal.errors import OpsSentinalError, Unavailable
from opssentinal.followers.backoff import Backoff
from opssentinal.ledger import held, reader
from opssentinal.search.bringing import bring_all
from opssentinal.search.index import Index, Opener
from opssentinal.search.store import Corrupt, GivenUp, SearchStore
from opssentinal.search.successor import Successor

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
# Further behind than this at the start, the index counts as being rebuilt and questions do not wait for it.
REBUILDING_EVENTS = 50_000
# What failed once mostly goes well at the next turn, which comes in a fraction of a second.
_NEXT_TURN_S = 1.0
# Questions fail soon where the engine has given the file up; those that do not end with the store.
_LET_GO_S = 2.0

_log = logging.getLogger(__name__)


class Feed:
    """The thread that feeds an Index. `start` returns at once; `stop` after the batch in hand.

    `successor` makes new files for it, with `opener`.
    """

    def __init__(self, index: Index, opener: Opener) -> None:
        self._index = index
        self.successor = Successor(index, opener, self.report)
        self._changed = threading.Condition()
        self._asked = 0
        self._asked_at = 0.0
        self._served = 0
        # The index's position at the end of the last turn that went well.
        self._reached = 0
        self._stopping = False
        self._verified: SearchStore | None = None
        self._forgotten: tuple[SearchStore, int, int] | None = None
        self._brought_at = 0.0
        self._thread = threading.Thread(target=self._run, name="search-feed", daemon=True)
        self.ledger_size = 0
        self.is_rebuilding = False
        self._damage: tuple[SearchStore, Corrupt | GivenUp] | None = None
        self.error: str | None = None

    def start(self) -> None:
        """Begin to follow."""
        self.successor.clear()
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Stop after the batch in hand."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.successor.stop()
        self._thread.join(timeout_s)

    def report(self, store: SearchStore, damage: Corrupt | GivenUp) -> None:
        """Somebody met damage while reading a store: it is thrown away or opened again at the next turn, if it is in use then."""
        with self._changed:
            if isinstance(damage, Corrupt) or self._damage is None or self._damage[0] is not store:
                self._damage = store, damage
            self._asked += 1
            self._changed.notify_all()

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

    def _run(self) -> None:
        backoff = Backoff(first_s=0.2, most_s=10.0)
        while not self._stopping:
            ticket = self._asked
            pause_s = GATHER_S
            try:
                self._index.open()
                if (damage := self._reported(self._index.store)) is not None:
                    raise damage
                self.successor.put_in_place()
                self._follow()
                self._reached = self._index.store.position
                if self._index.store.taken > self._index.store.position:
                    pause_s = GATHER_FAST_S
                self._tell(None)
                backoff.reset()
            except Exception as error:  # noqa: BLE001
                # Whatever it is, it is not lost: it is in the status, answers say that they are incomplete, and the next
                # turn tries again. This one was nobody's.
                connection.close()
                self._heal(error)
                ticket, pause_s = self._served, backoff.next_s()
            self._rest(ticket, pause_s)
        with suppress(OpsSentinalError, Corrupt):  # what waits is brought again by the next start
            self._index.store.ingest([])
        connection.close()

    def _reported(self, store: SearchStore | None) -> Corrupt | GivenUp | None:
        """What was reported of a store, which is forgotten with it; None where it was of one that is not in use any more."""
        with self._changed:
            reported, self._damage = self._damage, None
        return reported[1] if reported is not None and reported[0] is store else None

    def _heal(self, error: Exception) -> None:
        """Begin a damaged index anew; close what the engine has given up, for the next turn to open it again."""
        try:
            damage: Exception | None = error
            if isinstance(error, GivenUp):  # where a reader has met damage too, that counts
                damage = self._reported(self._index.close(_LET_GO_S))
            if isinstance(damage, Corrupt):
                self._index.discard(damage)
                return
            _log.warning("Search cannot be fed: %s", error, exc_info=not isinstance(error, Unavailable))
        except Exception as failed:  # noqa: BLE001
            _log.error("The search index cannot be begun anew: %s", failed)
            error = failed
        self._tell(str(error) or type(error).__name__)

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

    def _follow(self) -> None:
        """One turn: forget what was pruned, and bring what is new."""
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
            with closing(bring_all(store)) as positions:
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
        if not store.is_clean:
            self.successor.copy()
        if time.monotonic() - self._brought_at > SETTLES_AFTER_S:
            store.settle()

    def _forget(self, store: SearchStore, minimum_index: int) -> None:
        """Forget what was pruned, and what was held below it until now; once for each store that comes into use."""
        # Read before what is held, so that whatever changes in between is seen at the next turn.
        state = (store, minimum_index, held.totals().released)
        if minimum_index and state != self._forgotten:
            if forgotten := store.forget(minimum_index, held.all_seqs()):
                _log.info("search forgets %s events", forgotten)
            self._forgotten = state
