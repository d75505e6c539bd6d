"""The engine's errors as those of the contract."""

from __future__ import annotations

from contextlib import suppress

import duckdb

from opssentinal.errors import Unavailable
from opssentinal.search.store import Corrupt, GivenUp, Unsynced

# What these say of the file cannot be true of a good one. An IOException may also be a full disk, so it is read.
_DAMAGE = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException, duckdb.CatalogException)
_DAMAGE_WORDS = (
    "corrupt",
    "checksum",
    "not a valid duckdb",
    "could not read",
    "wal file",
    "storage version",
    "serializ",
    "fsync",
)


def ours(error: duckdb.Error, *, opening: bool = False) -> Exception:
    """The engine's error as one of the contract's."""
    text = str(error).lower()
    if "could not set lock" in text or "conflicting lock" in text:
        return Unavailable(
            "Another process has the search index open.", hint="Is another server running on this folder?"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return Unavailable(
            "The question needs more memory than the search engine may use.",
            hint="Narrow the time range, or raise OPSSENTINAL_SEARCH_MEMORY_MB.",
            code="out_of_memory",
        )
    if "because of a previous fatal error" in text:  # whoever met that one knows what it was, and of which file
        return GivenUp(f"The search engine failed: {error}")
    # A checkpoint that failed; its reason stands in the same text.
    kind = GivenUp if "has been invalidated" in text else Unavailable
    if "no space left" in text:
        return kind("The disk of the search index is full.")
    damaged = isinstance(error, _DAMAGE) or any(word in text for word in _DAMAGE_WORDS)
    if damaged or (opening and isinstance(error, duckdb.IOException | duckdb.BinderException)):
        return (Unsynced if "fsync" in text else Corrupt)(str(error))
    return kind(f"The search engine failed: {error}")


def roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    """End a transaction. There is none any more where a COMMIT failed, or where the engine has given the file up."""
    with suppress(duckdb.Error):
        connection.execute("ROLLBACK")
