"""The file that takes the place of the one in use: built from the ledger, or a copy without the bytes of forgotten events.

One is made at a time, beside questions and beside the feed, which goes on with the file in use. It puts the new one in place
at one of its turns, and then brings what that one lacks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from django.db import connection

from opssentinal.errors import Unavailable
from opssentinal.ledger import reader
from opssentinal.search.bringing import bring_all
from opssentinal.search.index import Index, Opener, is_whole, remove
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import Corrupt, GivenUp, SearchStore

# A new file comes into use when nobody reads the old one. Where there is always somebody, new questions are held back for a
# moment this often.
_HOLD_BACK_EVERY_S = 30.0
_HOLD_BACK_S = 0.2
# A copy that was given up or could not be written is tried again after this.
_COPY_AGAIN_S = 300.0
# Whoever gives a copy up waits for its end, which is a matter of moments.
_GIVE_UP_S = 10.0
_GIVE_UP_AGAIN_S = 0.05

_log = logging.getLogger(__name__)

# Told that something is wrong with a store that was read.
Report = Callable[[SearchStore, Corrupt | GivenUp], None]


@dataclass(eq=False)
class _NewFile:
    """An index file that is finished, closed, and to be used instead of the present one. While it is put in place, it stays."""

    path: Path
    is_used: bool = False
    is_being_placed: bool = False


class Successor:
    """Makes new files for an Index. `put_in_place` is the feed's; all else may be called from any thread."""

    def __init__(self, index: Index, opener: Opener, report: Report) -> None:
        self._index = index
        self._opener = opener
        self._report = report
        # One file is made at a time, and of two who want one built only the first is served.
        self._making = threading.Lock()
        self._building = threading.Lock()
        self._changed = threading.Condition()
        self._new: _NewFile | None = None
        self._hold_back_at = 0.0
        self._copy_at = 0.0
        self._copying = threading.Thread()
        self._copy_stop = Interruption()
        self._is_stopping = False

    @property
    def is_made(self) -> bool:
        """Whether a new file is being made, or waits until it can be used."""
        return self._making.locked()

    def clear(self) -> None:
        """Remove new files that a crash kept from coming into use."""
        for name in ("reindex", "rewritten"):
            try:
                remove(self._beside(name))
            except OSError as error:  # a new one removes it before it is made
                _log.warning("What is left of a new search index cannot be removed: %s", error)

    def stop(self) -> None:
        """Give up what is being made; only for a copy, which is ours, is waited."""
        self._is_stopping = True
        end = time.monotonic() + _GIVE_UP_S
        while self._copying.is_alive() and time.monotonic() < end:
            self._copy_stop.cancel()
            self._copying.join(_GIVE_UP_AGAIN_S)

    def build(self, progress: Callable[[int, int], None], stop: Interruption) -> None:
        """Build a file from the whole ledger and have it used. Questions are answered meanwhile.

        `progress` gets the events done and all there are. Raises Unavailable where one is being built already, or the new one
        cannot be written: then the one in use stays. A copy gives way, since this one has no forgotten events either.
        """
        if not self._building.acquire(blocking=False):
            raise Unavailable("The search index is being built again already.", code="reindexing")
        made = self._beside("reindex")
        try:
            with self._instead_of_a_copy(stop):
                self._fill(made, progress, stop)
                self._hand_over(made, stop)
        except (Corrupt, GivenUp, OSError) as error:  # of the new file: nothing is wrong with the one in use
            raise _unwritten(str(error)) from error
        finally:
            with suppress(OSError):  # what is left of it is removed by the next start, and before the next one is built
                remove(made)
            self._building.release()
            connection.close()

    @contextmanager
    def _instead_of_a_copy(self, stop: Interruption) -> Iterator[None]:
        while not self._making.acquire(timeout=_GIVE_UP_AGAIN_S):
            stop.check()
            self._copy_stop.cancel()
        try:
            yield
        finally:
            self._making.release()

    def _fill(self, made: Path, progress: Callable[[int, int], None], stop: Interruption) -> None:
        """Bring the whole ledger into a new file, and close it."""
        remove(made)
        store = self._opener(made)
        try:
            with closing(bring_all(store)) as positions:
                for position in positions:
                    stop.check()
                    progress(position, max(position, reader.head().size))
            store.ingest([])
        finally:
            store.close()
        if not is_whole(made):
            raise _unwritten("its log could not be written into it.")

    def copy(self) -> None:
        """Begin to write a copy of the file in use, which has bytes of forgotten events, unless a file is being made already.

        Returns at once. Where the copy cannot be written the file in use stays, until a later call.
        """
        is_at_work = self._building.locked() or self._copying.is_alive() or self._is_stopping
        if not is_at_work and time.monotonic() >= self._copy_at:
            self._copy_stop = Interruption()
            self._copying = threading.Thread(target=self._copy, args=[self._copy_stop], name="search-copy", daemon=True)
            self._copying.start()

    def _copy(self, stop: Interruption) -> None:
        if not self._making.acquire(blocking=False):  # somebody has begun to build one
            return
        made = self._beside("rewritten")
        try:
            remove(made)
            with self._index.reading() as store:
                try:
                    store.rewrite(made, stop)
                except (Corrupt, GivenUp) as error:
                    self._report(store, error)
                    raise
            self._hand_over(made, stop)
        except Exception as error:  # noqa: BLE001
            # Whatever it is, it is tried again later.
            if not stop.is_cancelled:
                is_known = isinstance(error, Corrupt | Unavailable | OSError)
                _log.warning(
                    "The bytes of forgotten events stay in the search index for now: %s", error, exc_info=not is_known
                )
            self._copy_at = time.monotonic() + _COPY_AGAIN_S
        finally:
            with suppress(OSError):
                remove(made)
            self._making.release()

    def _beside(self, name: str) -> Path:
        return self._index.path.with_name(f"{self._index.path.name}.{name}")

    def _hand_over(self, made: Path, stop: Interruption) -> None:
        """Wait until a finished file is in use. Raises Unavailable where that does not happen."""
        with self._changed:
            new = self._new = _NewFile(made)
            try:
                while self._new is new:
                    if not new.is_being_placed:
                        stop.check()
                        if self._is_stopping:
                            raise Unavailable("Search is stopping.", hint="Build the index again when it has started.")
                    self._changed.wait(0.1)
            finally:
                if self._new is new:
                    self._new = None
        if not new.is_used:
            raise Unavailable("The new index could not be put in place.", hint="Look into the log, and try again.")

    def put_in_place(self) -> None:
        """Use the new file, if there is one and as soon as nobody reads the old one (exports may take long)."""
        with self._changed:
            new = self._new
            if new is None:
                return
            new.is_being_placed = True
        patience_s = 0.0
        if (now := time.monotonic()) >= self._hold_back_at:
            patience_s, self._hold_back_at = _HOLD_BACK_S, now + _HOLD_BACK_EVERY_S
        is_over = True
        try:
            is_over = new.is_used = self._index.replace(new.path, patience_s)
        finally:
            with self._changed:
                new.is_being_placed = False
                if is_over:
                    self._new = None
                self._changed.notify_all()


def _unwritten(reason: str) -> Unavailable:
    return Unavailable(
        f"The new index could not be written: {reason}",
        hint="The one in use is as it was. Look at the disk, and try again.",
    )
