"""A copy of the file in use without the bytes of what was forgotten, written while others read and write."""

from __future__ import annotations

from pathlib import Path

import duckdb

from opssentinal.search.duckdb import schema, segments
from opssentinal.search.interruption import Interruption

_CATALOG = "rewritten"


def fill(cursor: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Write what is in the index at one moment into a new file at `path`; return its position.

    The cursor is not inside a transaction. The file stays open until `let_go`, also after an error.
    """
    schema.attach(cursor, path, _CATALOG)
    schema.create(cursor, _CATALOG)
    cursor.execute("BEGIN")
    cursor.execute(f"DELETE FROM {_CATALOG}.meta")
    cursor.execute(f"INSERT INTO {_CATALOG}.meta SELECT * REPLACE (true AS is_clean) FROM meta")
    [(position,)] = cursor.execute(f"SELECT max(position) FROM {_CATALOG}.meta").fetchall()
    # They stay in the order of the table, which is that of seq.
    cursor.execute(f"INSERT INTO {_CATALOG}.event SELECT * FROM event")
    cursor.execute("COMMIT")
    return int(position)


def finish(cursor: duckdb.DuckDBPyConnection, position: int, stop: Interruption) -> None:
    """Describe what is in the copy, and write its log into it. Nothing is read but what was just written."""
    stop.check()
    segments.describe(cursor, position, _CATALOG)
    cursor.execute(f"CHECKPOINT {_CATALOG}")


def let_go(cursor: duckdb.DuckDBPyConnection) -> None:
    """Close the file of a copy, if there is one. On a cursor that nobody interrupts: it would stay open, and no other could be made."""
    cursor.execute(f"DETACH DATABASE IF EXISTS {_CATALOG}")
