"""The tree of RFC 6962, Section 2.1, written down word for word: slow, recursive, and the judge of the fast one."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

from opssentinal.merkle import TileError


class NaiveTree:
    """A tree over the leaf hashes of the decimal numbers 0, 1, 2, …; positions are absolute."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.leaves = [sha256(b"\x00%d" % number).digest() for number in range(size)]
        self.mth = cache(self._mth)

    def _mth(self, begin: int, end: int) -> bytes:
        """MTH(D[begin:end])."""
        if begin == end:
            return sha256().digest()
        if end - begin == 1:
            return self.leaves[begin]
        k = begin + split(end - begin)
        return sha256(b"\x01" + self.mth(begin, k) + self.mth(k, end)).digest()

    def path(self, m: int, begin: int, end: int) -> list[bytes]:
        """PATH(m, D[begin:end]), m counted from `begin`."""
        if end - begin == 1:
            return []
        k = split(end - begin)
        if m < k:
            return [*self.path(m, begin, begin + k), self.mth(begin + k, end)]
        return [*self.path(m - k, begin + k, end), self.mth(begin, begin + k)]

    def subproof(self, m: int, begin: int, end: int, known: bool) -> list[bytes]:
        """SUBPROOF(m, D[begin:end], known), m counted from `begin`."""
        n = end - begin
        if m == n:
            return [] if known else [self.mth(begin, end)]
        k = split(n)
        if m <= k:
            return [*self.subproof(m, begin, begin + k, known), self.mth(begin + k, end)]
        return [*self.subproof(m - k, begin + k, end, False), self.mth(begin, begin + k)]


TREE = NaiveTree(70_000)
"""Large enough to reach tile level 2 (65,536 leaves)."""


def split(n: int) -> int:
    """The largest power of two smaller than n (n > 1)."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


class NaiveReader:
    """The tiles of a `NaiveTree` at one size. Knows what was read; refuses level 0 below the minimum index (pruned)."""

    def __init__(self, tree: NaiveTree, size: int, minimum_index: int = 0) -> None:
        self.tree = tree
        self.size = size
        self.minimum_index = minimum_index
        self.read: list[tuple[int, int]] = []

    def hashes(self, level: int, index: int) -> bytes:
        self.read.append((level, index))
        if level == 0 and index * 256 < self.minimum_index:
            raise TileError("pruned")
        leaves = 256**level
        positions = range(index * 256, min((index + 1) * 256, self.size // leaves))
        return b"".join(self.tree.mth(at * leaves, (at + 1) * leaves) for at in positions)
