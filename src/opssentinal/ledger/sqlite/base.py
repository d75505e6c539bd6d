"""The database backend: pysqlite3 in place of the standard library's module, durable, and one writer at a time, in turn.

SQLite 3.7.0 to 3.51.2 can corrupt a write-ahead log that is reset, so the system's library is not used and an older one
is refused. Writers of one process queue up before `BEGIN IMMEDIATE` instead of polling against each other: SQLite's busy
handler is unfair, and a page beside a busy sequencer waited 100 ms instead of 12.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

try:
    import pysqlite3

    # Before Django's backend imports it. One SQLite library per process: a second one that opened and closed the ledger
    # would drop the locks of the first (POSIX locks belong to the process), and an acknowledged row was once lost so.
    sys.modules["sqlite3"] = pysqlite3
    sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
except ImportError:  # no wheel for this platform; the version check below still holds
    pass

from django.db.backends.sqlite3 import base

from opssentinal.errors import ConfigError

SQLITE_MIN = (3, 51, 3)
# For writers of other processes, which poll: long enough to find a gap beside a server under full load.
BUSY_TIMEOUT_S = 20

# Of a new file only, and before the journal mode, which writes the first page and fixes it. On a file that is there this
# would wait for the write lock, and with it every new connection for whoever is writing.
_INIT_NEW_FILE = "PRAGMA auto_vacuum=INCREMENTAL;"
# FULL: an acknowledged transaction is in the file system's hands for good, also in WAL mode. secure_delete: pruned text
# is overwritten, not merely unlinked.
_INIT = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
PRAGMA secure_delete=ON;
PRAGMA wal_autocheckpoint=4000;
PRAGMA journal_size_limit=67108864;
PRAGMA cache_size=-16384;
"""


class FairLock:
    """A lock that is granted in the order in which it was asked for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._held = False

    def acquire(self) -> None:
        """Wait for our turn, however long the ones before us take."""
        with self._guard:
            if not self._held:
                self._held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def release(self) -> None:
        """Hand the lock to whoever has waited longest. May be called from any thread."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False


_writers: dict[str, FairLock] = {}
_writers_guard = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    """One connection. Every transaction is an immediate one and takes its turn among this process's writers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        with _writers_guard:
            self._writer = _writers.setdefault(str(self.settings_dict["NAME"]), FairLock())
        self._writing = False
        self._has_commit_failed = False

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        params["timeout"] = BUSY_TIMEOUT_S
        self.transaction_mode = "IMMEDIATE"
        path = Path(str(self.settings_dict["NAME"]))
        is_new = not path.exists() or path.stat().st_size == 0
        self.init_commands = ((_INIT_NEW_FILE if is_new else "") + _INIT).split(";")
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if base.Database.sqlite_version_info < SQLITE_MIN:
            wanted = ".".join(map(str, SQLITE_MIN))
            raise ConfigError(
                f"SQLite {base.Database.sqlite_version} can corrupt a write-ahead log; {wanted} or newer is needed.",
                hint="Install the pysqlite3 wheel, or run on PostgreSQL with OPSSENTINAL_DATABASE_URL.",
            )
        return super().get_new_connection(conn_params)

    def _start_transaction_under_autocommit(self) -> None:
        self._writer.acquire()
        self._writing = True
        try:
            super()._start_transaction_under_autocommit()
        except BaseException:
            self._done_writing()
            raise

    def _commit(self) -> None:
        self._has_commit_failed = True
        super()._commit()  # a commit that fails leaves the transaction open: the rollback that follows releases
        self._has_commit_failed = False
        self._done_writing()

    def _rollback(self) -> None:
        try:
            super()._rollback()
            if self._has_commit_failed:
                self._overwrite_failed_commit()
        finally:
            self._done_writing()

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            self._done_writing()

    def _overwrite_failed_commit(self) -> None:
        """Keep a commit that failed at fsync from coming back after a crash: the log holds it until it is overwritten.

        At the first attempt only; where it fails too, the next commit of anybody does it. Who must know asks the sequencer.
        """
        self._has_commit_failed = False
        with suppress(base.Database.Error):
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.execute("PRAGMA user_version = 0")
            self.connection.execute("COMMIT")
        if self.connection.in_transaction:
            super()._rollback()

    def _done_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._writer.release()
