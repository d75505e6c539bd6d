"""The index in use: opening it, throwing a damaged one away, and putting a new file in the place of the old one."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from opssentinal.errors import Unavailable
from opssentinal.search.store import Corrupt, SearchStore

_log = logging.getLogger(__name__)

Opener = Callable[[Path], SearchStore]


class Index:
    """The one store that questions are put to, which may be exchanged while nobody reads it.

    Any thread may read; one thread (the feed's) opens, discards and replaces.
    """

    def __init__(self, path: Path, opener: Opener) -> None:
        self.path = path
        self._opener = opener
        self._changed = threading.Condition()
        self._store: SearchStore | None = None
        self._file: tuple[int, int] | None = None
        self._readers = 0
        self._is_exchanging = False

    @property
    def store(self) -> SearchStore:
        """The store, for its one writer. Raises Unavailable where it is not open."""
        if self._store is None:
            raise _closed()
        return self._store

    def open(self) -> None:
        """Open the file; one that cannot be used is thrown away and begun anew. Raises Unavailable where it is locked."""
        if self._store is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._use()
        except Corrupt as reason:
            _log.warning("The search index cannot be used and is built again from the ledger: %s", reason)
            remove(self.path)
            self._use()

    def _use(self) -> None:
        self._store = self._opener(self.path)
        self._file = _identity(self.path)

    def check_file(self) -> None:
        """Raise Corrupt if the file that is open is not the one under its name any more, or was emptied.

        Somebody removed it or put a backup in its place: the engine would go on in a file that is gone at the next start.
        """
        if self._store is not None and _identity(self.path) != self._file:
            raise Corrupt("The file of the index was removed or exchanged while it was in use.")

    @contextmanager
    def reading(self) -> Iterator[SearchStore]:
        """Hold the store for questions; waits while it is being exchanged, which takes moments."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._is_exchanging, timeout=10) or self._store is None:
                raise _closed()
            self._readers += 1
            store = self._store
        try:
            yield store
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    def discard(self, reason: Exception) -> None:
        """Throw the index away and begin anew: it is damaged or not of this ledger. Questions under way fail."""
        _log.warning("The search index is thrown away and built again from the ledger: %s", reason)
        with self._changed:
            self._close()
            remove(self.path)
            self._use()

    def replace(self, made: Path, patience_s: float = 0.0) -> bool:
        """Put the closed index file `made` in the place of the present one; False where somebody still reads it.

        New questions wait for at most `patience_s` more. If we stop between closing and renaming, the next start finds the
        old file or the new one, whole in both cases.
        """
        with self._changed:
            self._is_exchanging = True
            try:
                if not self._changed.wait_for(lambda: self._readers == 0, timeout=patience_s):
                    return False
                self._close()
                _log_of(self.path).unlink(missing_ok=True)  # it belongs to the old file
                made.replace(self.path)
                self._use()
                return True
            finally:
                self._is_exchanging = False
                self._changed.notify_all()

    def close(self, patience_s: float = 0.0) -> SearchStore | None:
        """Close the store and return it; questions still under way after `patience_s` end. `open` opens it again."""
        with self._changed:
            self._is_exchanging = True
            try:
                self._changed.wait_for(lambda: self._readers == 0, timeout=patience_s)
                return self._close()
            finally:
                self._is_exchanging = False
                self._changed.notify_all()

    def _close(self) -> SearchStore | None:
        store, self._store = self._store, None
        if store is not None:
            store.close()
        return store


def _closed() -> Unavailable:
    return Unavailable("The search index is not open yet.", hint="Ask again in a moment.", code="rebuilding")


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another of the same name; None where there is none, or nothing in it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_dev, status.st_ino) if status.st_size else None


def remove(path: Path) -> None:
    """Remove an index file and what the engine keeps beside it, or kept when it was killed."""
    path.unlink(missing_ok=True)
    _log_of(path).unlink(missing_ok=True)
    shutil.rmtree(path.with_name(path.name + ".tmp"), ignore_errors=True)


def is_whole(path: Path) -> bool:
    """Whether an index file that was closed needs nothing beside it. Where closing could not write its log into it, it does."""
    return not _log_of(path).exists()


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
