"""Rows of hash tiles, level 1 and up (c2sp.org/tlog-tiles); level 0 is recomputed from the bundles."""

from __future__ import annotations

from typing import Any

from django.db import connection

from opssentinal.errors import IntegrityError
from opssentinal.ledger.reader import stored_range
from opssentinal.merkle import HASH_BYTES, TILE_WIDTH, Growth


def extend(cursor: Any, growth: Growth) -> None:
    """Write the hashes that an append completed behind those their tiles hold already."""
    for extension in growth.tile_extensions():
        hashes = extension.hashes
        if extension.offset:
            kept = read(extension.level, extension.index)
            if len(kept) != extension.offset * HASH_BYTES:
                raise IntegrityError(
                    f"The hash tile {extension.level}/{extension.index} does not hold {extension.offset} hashes.",
                    hint="Run opssentinal fsck.",
                )
            hashes = kept + hashes
        cursor.execute(
            "INSERT INTO ledger_tile (level, index_, hashes) VALUES (%s, %s, %s) "
            "ON CONFLICT (level, index_) DO UPDATE SET hashes = excluded.hashes",
            [extension.level, extension.index, hashes],
        )


def read(level: int, index: int) -> bytes:
    """The hashes of one tile, concatenated; empty where there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT hashes FROM ledger_tile WHERE level = %s AND index_ = %s", [level, index])
        row = cursor.fetchone()
    return bytes(row[0]) if row else b""


class LedgerHashes:
    """The tree's hashes as merkle's `HashReader`: tiles from their rows, leaves from the bundles.

    Keeps the tiles it has read, and so is for the proofs of one moment. Of a pruned bundle the kept leaf hashes count: what
    became of other held events' text is nothing to an event's own proof.
    """

    def __init__(self) -> None:
        self._tiles: dict[tuple[int, int], bytes] = {}

    def hashes(self, level: int, index: int) -> bytes:
        """The hashes of the tile at `level` and `index`, concatenated."""
        tile = self._tiles.get((level, index))
        if tile is None:
            tile = self._tiles[level, index] = read(level, index) if level else _leaves(index)
        return tile


def _leaves(index: int) -> bytes:
    """The leaf hashes of one tile, which may be cut out of larger bundles."""
    first, end = index * TILE_WIDTH, (index + 1) * TILE_WIDTH
    return b"".join(leaf for bundle in stored_range(first, end) for leaf in bundle.until(end).leaf_hashes())
