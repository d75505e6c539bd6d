"""The tree derived again from the leaves, compared with its stored tiles as it grows, and going on across holes.

A hole is a range whose text cannot be read. The 256-leaf subtrees it touches take their stored hash, so everything around
it is still derived and compared, up to the root.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opssentinal.ledger import tiles
from opssentinal.merkle import HASH_BYTES, TILE_WIDTH, Frontier, subtree_root


class DerivedTree:
    """Takes leaf hashes in order, None where a leaf is not known; tells `problem` of each stored hash that differs."""

    def __init__(self, problem: Callable[[str], None]) -> None:
        self._problem = problem
        self._open: list[bytes | None] = []  # the leaves of the last, incomplete subtree
        self._subtrees = Frontier()  # over the roots of the complete ones
        self.size = 0
        self.tiles = 0

    def add(self, leaves: Sequence[bytes | None]) -> None:
        """Add the next leaves."""
        self.size += len(leaves)
        self._open += leaves
        roots: list[bytes] = []
        at = 0
        while len(self._open) - at >= TILE_WIDTH:
            subtree = self._open[at : at + TILE_WIDTH]
            known = [leaf for leaf in subtree if leaf is not None]
            index = self._subtrees.size + len(roots)
            roots.append(subtree_root(known) if len(known) == TILE_WIDTH else self._stored(1, index))
            at += TILE_WIDTH
        del self._open[:at]
        if not roots:
            return
        growth = self._subtrees.append(roots)
        self._subtrees = growth.frontier
        self._compare(1, growth.frontier.size - len(roots), roots)
        for level, hashes in growth.tile_hashes.items():
            self._compare(level + 1, (growth.frontier.size >> 8 * level) - len(hashes), hashes)

    def frontier(self) -> Frontier | None:
        """The right edge; None where a leaf of the last subtree is not known."""
        known = [leaf for leaf in self._open if leaf is not None]
        if len(known) != len(self._open):
            return None
        last = Frontier().append(known).frontier
        return Frontier(self.size, (*self._subtrees.hashes, *last.hashes))

    def _compare(self, level: int, first: int, hashes: list[bytes]) -> None:
        for offset, derived in enumerate(hashes):
            index, at = divmod(first + offset, TILE_WIDTH)
            self.tiles += at == 0
            if self._stored(level, first + offset) != derived:
                self._problem(f"Hash {at} of the tile {level}/{index} is not that of its events.")

    def _stored(self, level: int, position: int) -> bytes:
        index, at = divmod(position, TILE_WIDTH)
        found = tiles.read(level, index)[at * HASH_BYTES : (at + 1) * HASH_BYTES]
        return found if len(found) == HASH_BYTES else bytes(HASH_BYTES)
