"""The right edge of a growing tree, which is all that is needed to append to it.

A tree of n entries is a row of perfect subtrees, largest first, one for each bit set in n. Their roots (a "compact
range") determine the root of the tree and of every later one, so appending reads no tile and no earlier entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opssentinal.merkle.hashing import EMPTY_ROOT, HASH_BYTES, node_hash, parent_hashes
from opssentinal.merkle.tiles import TILE_HEIGHT, TILE_WIDTH, hash_count


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the perfect subtrees of a tree of `size` entries, largest first. `Frontier()` is the empty tree.

    Raises ValueError where the number or the length of the hashes does not fit the size.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"a tree has no negative size: {self.size}")
        if len(self.hashes) != self.size.bit_count():
            raise ValueError(
                f"a tree of {self.size} entries has {self.size.bit_count()} hashes, not {len(self.hashes)}"
            )
        _require_hashes(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, content: bytes) -> Frontier:
        """Read what `to_bytes` wrote. ValueError unless `content` is 32 bytes for each bit set in `size`."""
        if len(content) % HASH_BYTES:
            raise ValueError(f"a frontier is made of {HASH_BYTES}-byte hashes, not of {len(content)} bytes")
        return cls(size, tuple(content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)))

    def to_bytes(self) -> bytes:
        """Concatenate the hashes, largest subtree first."""
        return b"".join(self.hashes)

    def root(self) -> bytes:
        """Compute the root of the tree. RFC 6962, Section 2.1."""
        if not self.hashes:
            return EMPTY_ROOT
        *larger, result = self.hashes
        for subtree in reversed(larger):
            result = node_hash(subtree, result)
        return result

    def append(self, leaf_hashes: Iterable[bytes]) -> Growth:
        """Append leaves, in order, by their hashes; this frontier stays as it is.

        Goes up level by level rather than leaf by leaf: a batch costs one pass per level, about one hash per leaf.
        ValueError where a leaf hash is not 32 bytes long (an entry, say).
        """
        nodes = list(leaf_hashes)
        _require_hashes(nodes)
        size = self.size + len(nodes)
        complete = list(self.hashes)  # smallest last; what is left at the end was not touched
        edge: list[bytes] = []  # of the new tree, smallest first
        tile_hashes: dict[int, list[bytes]] = {}
        height = 0
        while nodes:
            if height and height % TILE_HEIGHT == 0:
                tile_hashes[height // TILE_HEIGHT] = nodes.copy()
            if self.size >> height & 1:
                nodes.insert(0, complete.pop())  # the left partner of the first new node
            if len(nodes) % 2:
                edge.append(nodes[-1])
            nodes = parent_hashes(nodes)
            height += 1
        return Growth(Frontier(size, (*complete, *reversed(edge))), tile_hashes)


@dataclass(frozen=True, slots=True)
class TileExtension:
    """`hashes` (concatenated) go into the tile at tile `level` and `index`, behind the `offset` hashes there."""

    level: int
    index: int
    offset: int
    hashes: bytes


@dataclass(frozen=True, slots=True)
class Growth:
    """What an append led to: the new frontier, and per tile level from 1 on the hashes that it completed.

    `tile_hashes[1]` are the roots of the 256-leaf subtrees finished by the append, in order, `tile_hashes[2]` those of
    the 65,536-leaf subtrees, and so on; a level at which nothing was finished is absent.
    """

    frontier: Frontier
    tile_hashes: dict[int, list[bytes]]

    def tile_extensions(self) -> Iterator[TileExtension]:
        """Yield where the completed hashes belong, cut at the bounds of tiles, lowest level and index first."""
        for level, hashes in self.tile_hashes.items():
            position = hash_count(self.frontier.size, level) - len(hashes)
            rest = hashes
            while rest:
                index, offset = divmod(position, TILE_WIDTH)
                room = TILE_WIDTH - offset
                yield TileExtension(level, index, offset, b"".join(rest[:room]))
                rest, position = rest[room:], position + room


def _require_hashes(hashes: Iterable[bytes]) -> None:
    if not set(map(len, hashes)) <= {HASH_BYTES}:
        raise ValueError(f"each hash of a tree is {HASH_BYTES} bytes long")
