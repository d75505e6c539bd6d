"""The ledger's tables, alike on SQLite and PostgreSQL.

ledger_head      one row: size, root, frontier, minimum index, newest recorded_at
ledger_bundle    events by the hundred: three zstd columns, one line per event; NULL once pruned, then the leaf hashes
ledger_tile      hash tiles of level 1 and up, up to 256 hashes a row; the row at the right edge grows
ledger_source    the programs that brought ids of their own, numbered
ledger_event_id  (source, id) → seq, only for ids that callers brought; a UUID is its 16 bytes
ledger_held_event  events under a legal hold whose bundle is pruned: a row each, its lines as they were stored
ledger_held_total  one row: how many are held, and how many were let go
"""

from __future__ import annotations

from typing import Any

from opssentinal.merkle import EMPTY_ROOT

_TABLES = """
CREATE TABLE ledger_head (
    id smallint PRIMARY KEY CHECK (id = 1),
    size bigint NOT NULL,
    root {bytes} NOT NULL,
    frontier {bytes} NOT NULL,
    minimum_index bigint NOT NULL,
    recorded_at_us bigint NOT NULL
);
CREATE TABLE ledger_bundle (
    first_seq {seq_key} PRIMARY KEY,
    count integer NOT NULL,
    recorded_from_us bigint NOT NULL,
    recorded_to_us bigint NOT NULL,
    heads {bytes},
    whos {bytes},
    whats {bytes},
    leaf_hashes {bytes}
);
CREATE INDEX ledger_bundle_recorded ON ledger_bundle (recorded_to_us);
CREATE TABLE ledger_tile (
    level smallint NOT NULL,
    index_ bigint NOT NULL,
    hashes {bytes} NOT NULL,
    PRIMARY KEY (level, index_)
){no_rowid};
CREATE TABLE ledger_source (
    id {seq_key} PRIMARY KEY,
    name varchar(64) NOT NULL UNIQUE
);
CREATE TABLE ledger_event_id (
    source_id integer NOT NULL,
    event_id {uuid} NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (source_id, event_id)
){no_rowid};
"""

_HELD_TABLES = """
CREATE TABLE ledger_held_event (
    seq {seq_key} PRIMARY KEY,
    recorded_at_us bigint NOT NULL,
    event_id {uuid} NOT NULL,
    head {bytes} NOT NULL,
    who {bytes} NOT NULL,
    what {bytes} NOT NULL
);
CREATE INDEX ledger_held_event_id ON ledger_held_event (event_id);
CREATE TABLE ledger_held_total (
    id smallint PRIMARY KEY CHECK (id = 1),
    events bigint NOT NULL,
    released bigint NOT NULL
);
"""

_SQLITE = {"bytes": "blob", "uuid": "blob", "seq_key": "integer", "no_rowid": " WITHOUT ROWID"}
# Compressed already: kept outside the row as it is, without another attempt to compress it.
_POSTGRESQL = {"bytes": "bytea", "uuid": "uuid", "seq_key": "bigint", "no_rowid": ""}
_POSTGRESQL_STORAGE = "ALTER TABLE ledger_bundle ALTER COLUMN {column} SET STORAGE EXTERNAL"


def create_tables(apps: Any, schema_editor: Any) -> None:
    """Create the tables and the head of the empty tree. Runs as a migration."""
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        _execute(cursor, connection.vendor, _TABLES)
        if connection.vendor == "postgresql":
            for column in ("heads", "whos", "whats", "leaf_hashes"):
                cursor.execute(_POSTGRESQL_STORAGE.format(column=column))
        cursor.execute("INSERT INTO ledger_head VALUES (1, 0, %s, %s, 0, 0)", [EMPTY_ROOT, b""])


def drop_tables(apps: Any, schema_editor: Any) -> None:
    """Drop the tables; the reverse of the migration."""
    with schema_editor.connection.cursor() as cursor:
        for table in ("ledger_event_id", "ledger_source", "ledger_tile", "ledger_bundle", "ledger_head"):
            cursor.execute(f"DROP TABLE {table}")


def create_held_tables(apps: Any, schema_editor: Any) -> None:
    """Create the tables of held events, empty. Runs as a migration."""
    with schema_editor.connection.cursor() as cursor:
        _execute(cursor, schema_editor.connection.vendor, _HELD_TABLES)
        cursor.execute("INSERT INTO ledger_held_total VALUES (1, 0, 0)")


def drop_held_tables(apps: Any, schema_editor: Any) -> None:
    """Drop the tables of held events; the reverse of the migration."""
    with schema_editor.connection.cursor() as cursor:
        for table in ("ledger_held_event", "ledger_held_total"):
            cursor.execute(f"DROP TABLE {table}")


def _execute(cursor: Any, vendor: str, statements: str) -> None:
    words = _SQLITE if vendor == "sqlite" else _POSTGRESQL
    for statement in statements.format(**words).split(";"):
        if statement.strip():
            cursor.execute(statement)
