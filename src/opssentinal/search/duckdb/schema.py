"""The tables of the index and how the engine is set up.

One wide table, for the engine's dictionaries make text columns as fast as numbers; no column is ever NULL (NULL switches
those dictionaries off: 140 ms instead of 20 ms to count a column of 10 million rows), "" says that there is nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import duckdb

from opssentinal.search.duckdb import segments

# Counts up whenever the tables or the meaning of a column change: the index is then built again.
LAYOUT: Final = 7

# Bits of the column `marks`.
WHO_ERASED, WHAT_ERASED, AGENT_EMPTY, MESSAGE_EMPTY = 1, 2, 4, 8

# Columns ending in _h hold 16 bits of a hash, 2 bytes beside a text of many different values: an exact filter reads them
# and looks at the text of the few rows that agree (10 million rows: 110 ms become 15). Actors repeat, so that their texts are
# dictionaries, which are as fast. Targets beyond the first, changes and metadata are JSON; the first two as arrays, so that a text search does not find the names of keys.
EVENT_COLUMNS: Final[dict[str, str]] = {
    "seq": "BIGINT",
    # The number of its segment, see `segments`: runs of one number, which take no space.
    "segment": "UINTEGER",
    "occurred_us": "BIGINT",
    "recorded_us": "BIGINT",
    "id": "UUID",
    "action": "VARCHAR",
    "outcome": "VARCHAR",
    "source": "VARCHAR",
    "tenant": "VARCHAR",
    "actor_type": "VARCHAR",
    "actor_id": "VARCHAR",
    "actor_name": "VARCHAR",
    "actor_email": "VARCHAR",
    "ip": "VARCHAR",
    "user_agent": "VARCHAR",
    "session_id": "VARCHAR",
    "request_id": "VARCHAR",
    "context_rest": "VARCHAR",
    "target_type": "VARCHAR",
    "target_id": "VARCHAR",
    "target_name": "VARCHAR",
    "target_email": "VARCHAR",
    "more_targets": "VARCHAR",
    "changes": "VARCHAR",
    "metadata": "VARCHAR",
    "message": "VARCHAR",
    "marks": "UTINYINT",
    # An address as a number of 128 bits in two halves, IPv4 as mapped into IPv6 (RFC 4291, 2.5.5.2); 0, 0 is none.
    "ip_hi": "UBIGINT",
    "ip_lo": "UBIGINT",
    "target_id_h": "USMALLINT",
    "target_name_h": "USMALLINT",
    "target_email_h": "USMALLINT",
    "session_id_h": "USMALLINT",
    "request_id_h": "USMALLINT",
    # What text search looks through: FOLDED_FROM in lower case, a line each.
    "folded": "VARCHAR",
}
# The searchable texts that are different in most events. Others repeat, and are dictionaries that are read in no time.
FOLDED_FROM: Final = (
    "target_id", "target_name", "target_email", "message", "more_targets", "changes", "metadata",
)  # fmt: skip

# Texts that may be different in each event. zstd makes metadata of 760 bytes 54, where the engine's own choice makes 300 and takes
# twice as long. For targets the engine would choose a dictionary, which takes a few bytes less and is counted by faster; but it is
# unpacked as a whole for a single event, and zstd 2,048 texts: the ids of fifty events that lie far apart take 15 to 20 ms of
# processor there where a row group has 20,000 different ones or more, and 3 here, however many there are.
_ZSTD: Final = frozenset({"target_id", "target_name", "metadata", "folded"})
# Texts that are mostly empty: zstd takes 4 bytes for each of those.
_TRIED: Final = frozenset({"context_rest", "more_targets", "changes", "message"})

# One row. `is_clean`: the file holds no bytes of forgotten events.
_META: Final = (
    "CREATE TABLE {0}meta (layout VARCHAR NOT NULL, position BIGINT NOT NULL, minimum_index BIGINT NOT NULL, "
    "fingerprint BLOB, is_clean BOOLEAN NOT NULL)"
)


def layout() -> str:
    """What an index must say of itself to be used. Hashes of the engine need not survive its next version."""
    columns = ",".join(f"{name} {type_}" for name, type_ in EVENT_COLUMNS.items())
    return f"{LAYOUT} {hashlib.sha256(columns.encode()).hexdigest()[:16]} duckdb {duckdb.__version__}"


def attach(connection: duckdb.DuckDBPyConnection, path: Path, catalog: str) -> None:
    """Open the index file at `path`, made where there is none, as `catalog`.

    With the engine's write-ahead log: without it (RECOVERY_MODE no_wal_writes, as of 1.5.6) the process crashes now and then. In
    its newest format: the one that every version reads does not compress a column with any text over 4 KB in it, and real
    events of 1,400 bytes take 1,900 bytes there instead of 650.
    """
    name = str(path).replace("'", "''")
    connection.execute(f"ATTACH '{name}' AS {catalog} (STORAGE_VERSION 'latest')")


def create(connection: duckdb.DuckDBPyConnection, catalog: str = "") -> None:
    """Make the tables of an empty index, in another attached file where `catalog` names one."""
    prefix = f"{catalog}." if catalog else ""
    columns = ", ".join(f"{name} {type_} NOT NULL{_compression(name)}" for name, type_ in EVENT_COLUMNS.items())
    connection.execute(f"CREATE TABLE {prefix}event ({columns})")
    for table in segments.TABLES:
        connection.execute(f"CREATE TABLE {prefix}{table}")
    connection.execute(_META.format(prefix))
    connection.execute(f"INSERT INTO {prefix}meta VALUES (?, 0, 0, NULL, true)", [layout()])


def _compression(name: str) -> str:
    """How the engine is to write a column where that is known; for others it tries what it has each time, a part of its work."""
    if name == "id":
        return " USING COMPRESSION uncompressed"
    if name in _ZSTD:
        return " USING COMPRESSION zstd"
    if EVENT_COLUMNS[name] == "VARCHAR" and name not in _TRIED:
        return " USING COMPRESSION dict_fsst"
    return ""


def engine_settings(memory_mb: int, threads: int, temp: str) -> dict[str, Any]:
    """Settings of the engine: bounded, and never anything from the network."""
    settings: dict[str, Any] = {
        "memory_limit": f"{memory_mb}MB",
        "temp_directory": temp,
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        # Never by itself: the store says when.
        "checkpoint_threshold": "1TB",
        "auto_checkpoint_skip_wal_threshold": 1 << 40,
        # A thread looks up between the steps of a long question, so that the number of threads can change.
        "scheduler_process_partial": "true",
        # Our own questions fetch wide rows in a second step, which knows better where they are.
        "late_materialization_max_rows": 0,
    }
    if threads:
        settings["threads"] = threads
    return settings
