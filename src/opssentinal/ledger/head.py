"""The head of the log: one row that says how long it is and what its root is."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db import connection

from opssentinal.errors import IntegrityError
from opssentinal.merkle import Frontier

_SELECT = "SELECT size, root, frontier, minimum_index, recorded_at_us FROM ledger_head WHERE id = 1"


class Head(NamedTuple):
    """`size` entries under `root`; text below `minimum_index` is pruned; the newest entry's `recorded_at_us`."""

    size: int
    root: bytes
    frontier: Frontier
    minimum_index: int
    recorded_at_us: int


def head() -> Head:
    """Read the head. Raises IntegrityError where its frontier does not hash to its root."""
    with connection.cursor() as cursor:
        cursor.execute(_SELECT)
        return _checked(cursor.fetchone())


def lock_head(cursor: Any) -> Head:
    """Read the head and keep it from changing until the transaction ends.

    On PostgreSQL this row is always locked last, after whatever else a transaction locks: in any other order two
    transactions wait for each other. On SQLite the immediate transaction holds the only write lock already.
    """
    cursor.execute(_SELECT + (" FOR UPDATE" if connection.vendor == "postgresql" else ""))
    return _checked(cursor.fetchone())


def write_head(cursor: Any, head: Head) -> None:
    """Replace the head, within the transaction that locked it."""
    cursor.execute(
        "UPDATE ledger_head SET size = %s, root = %s, frontier = %s, minimum_index = %s, recorded_at_us = %s WHERE id = 1",
        [head.size, head.root, head.frontier.to_bytes(), head.minimum_index, head.recorded_at_us],
    )


def _checked(row: tuple[Any, ...] | None) -> Head:
    if row is None:
        raise IntegrityError("The ledger has no head.", hint="Restore the database from a backup.")
    size, root, frontier_bytes, minimum_index, recorded_at_us = row
    try:
        frontier = Frontier.from_bytes(size, bytes(frontier_bytes))
    except ValueError as error:
        raise IntegrityError(f"The ledger's head is damaged: {error}.", hint="Run opssentinal fsck.") from error
    if frontier.root() != bytes(root):
        raise IntegrityError("The ledger's head does not hash to its root.", hint="Run opssentinal fsck.")
    return Head(size, bytes(root), frontier, minimum_index, recorded_at_us)
