"""Rows of hash tiles, level 1 and up (c2sp.org/tlog-tiles); level 0 is recomputed from the bundles."""

from __future__ import annotations

from typing import Any

from django.db import connection

from opssentinal.errors import IntegrityError
from opssentinal.ledger.reader import read_range
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
    """The tree's hashes as merkle's `HashReader`: tiles from their rows, leaves from the bundles."""

    def hashes(self, level: int, index: int) -> bytes:
        """The hashes of the tile at `level` and `index`, concatenated."""
        if level:
            return read(level, index)
        first = index * TILE_WIDTH
        found: list[bytes] = []
        for bundle in read_range(first, first + TILE_WIDTH):
            found += bundle.since(first).leaf_hashes()
        return b"".join(found[:TILE_WIDTH])
