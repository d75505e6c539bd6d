"""What a failed write means for what is on disk, on each database.

A COMMIT of SQLite that fails at fsync has put its pages and its commit mark into the write-ahead log and taken nothing back:
this process and its readers do not see them, but a crash makes the next start recover them, whatever callers were told. The
next commit overwrites them, so a failure is certain once something else was committed after it. PostgreSQL ends all its
processes instead and settles the matter in its recovery.
"""

from __future__ import annotations

from typing import Any

from django.db import Error as DatabaseFault
from django.db import connection

from opssentinal.errors import Unavailable

_SQLITE_FULL = 13
_POSTGRESQL_DISK_FULL = "53100"


def write_nothing(cursor: Any) -> None:
    """Write something that changes nothing, so that the commit of the caller's transaction goes to the disk.

    To be called with the head locked. On SQLite the file's header page with the same `user_version`, an update to the same
    values would not reach the disk; on PostgreSQL a new version of the head row.
    """
    if connection.vendor == "sqlite":
        cursor.execute("PRAGMA user_version = 0")
    else:
        cursor.execute("UPDATE ledger_head SET size = size WHERE id = 1")


def is_disk_full(error: DatabaseFault) -> bool:
    """Whether a write failed for want of room; its transaction has then never become whole on the disk.

    SQLite says so of the write itself, before there is a commit mark; what fsync says is told as another error.
    """
    cause = error.__cause__
    if getattr(cause, "sqlstate", None) == _POSTGRESQL_DISK_FULL:
        return True
    return getattr(cause, "sqlite_errorcode", None) == _SQLITE_FULL


def disk_full() -> Unavailable:
    """What everybody is told who wanted something written."""
    return Unavailable(
        "The disk is full: nothing can be recorded.",
        hint="Make room on the disk of the database; recording goes on by itself.",
        code="disk_full",
    )
