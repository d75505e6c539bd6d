"""Where a hash of the tree lies in its tiles, and what a tree of tiles answers: nodes, roots, proofs.

c2sp.org/tlog-tiles: the tile at tile level L and index N holds up to 256 hashes, the nodes of tree level 8·L at the
positions from 256·N on. Nodes of the tree levels in between are not stored; they are hashed again from the tile below
them. A node of a tree level that is a multiple of 8 is therefore read, never recomputed, which is what lets the
tiles of level 0 be pruned.
"""

from __future__ import annotations

from typing import Protocol

from opssentinal.merkle.hashing import EMPTY_ROOT, HASH_BYTES, node_hash, subtree_root

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT


class TileError(ValueError):
    """A tile lacks hashes that a tree of the given size has, or is not made of whole hashes."""


class HashReader(Protocol):
    """Whoever has the tiles: the ledger's rows, a folder of files, a server on the web."""

    def hashes(self, level: int, index: int) -> bytes:
        """Return the concatenated 32-byte hashes of the tile at tile level `level` (0 are leaf hashes) and `index`.

        The tile at the right edge is partial. It may hold more than a tree of the size asked for needs, since the tree
        may have grown meanwhile; a tile with too few hashes is refused as `TileError`. A reader that
        has no such tile (pruned, unreachable) raises an error of its own, which is passed on. Each tile is asked for
        at most once per root or proof.
        """
        ...


def hash_count(size: int, level: int) -> int:
    """Return how many hashes a tree of `size` entries has at tile level `level`: its complete 256^level subtrees."""
    return size >> (TILE_HEIGHT * level)


def tile_width(size: int, level: int, index: int) -> int:
    """Return how many hashes (0 to 256) the tile at `level` and `index` holds in a tree of `size` entries."""
    return min(max(hash_count(size, level) - index * TILE_WIDTH, 0), TILE_WIDTH)


def root(size: int, reader: HashReader) -> bytes:
    """Compute the root of the first `size` entries from the tiles: about log2(size) / 8 tiles are read."""
    if size < 0:
        raise ValueError(f"a tree has no negative size: {size}")
    return _Tree(reader).range_root(0, size) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, reader: HashReader) -> list[bytes]:
    """Prove that the entry at `index` is in the tree of the first `size` entries. RFC 9162, Section 2.1.3.1 (PATH).

    Returns the hashes from the leaf's sibling up. ValueError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} is outside a tree of {size} entries")
    tree = _Tree(reader)
    first, end = 0, size
    path = []
    while end - first > 1:
        middle = _split(first, end)
        if index < middle:
            path.append(tree.range_root(middle, end))
            end = middle
        else:
            path.append(tree.range_root(first, middle))
            first = middle
    return path[::-1]


def consistency_proof(first: int, second: int, reader: HashReader) -> list[bytes]:
    """Prove that the first `first` entries are the beginning of the tree of `second` entries.

    RFC 9162, Section 2.1.4.1 (SUBPROOF); equal sizes give the empty proof. ValueError unless 0 < first <= second:
    every tree begins with the empty one, so there is nothing to prove.
    """
    if not 0 < first <= second:
        raise ValueError(f"no consistency proof from {first} to {second} entries")
    tree = _Tree(reader)
    begin, end = 0, second
    path = []
    while first != end:
        middle = _split(begin, end)
        if first <= middle:
            path.append(tree.range_root(middle, end))
            end = middle
        else:
            path.append(tree.range_root(begin, middle))
            begin = middle
    if begin > 0:  # otherwise the subtree left over is the whole first tree, whose root the verifier has
        path.append(tree.range_root(begin, end))
    return path[::-1]


def _split(begin: int, end: int) -> int:
    """Return where RFC 6962 splits the range: after the largest power of two smaller than its length."""
    return begin + (1 << ((end - begin - 1).bit_length() - 1))


class _Tree:
    """The nodes of a tree of tiles. Lives for one root or proof and keeps the tiles it has read."""

    def __init__(self, reader: HashReader) -> None:
        self._reader = reader
        self._tiles: dict[tuple[int, int], bytes] = {}

    def range_root(self, begin: int, end: int) -> bytes:
        """Hash the non-empty range [begin, end) of leaves, a subtree that RFC 6962's split of a tree leads to.

        Such a range is a row of perfect subtrees, largest first, one for each bit of its length.
        """
        perfect = []
        while begin < end:
            height = (end - begin).bit_length() - 1
            perfect.append(self._node(height, begin >> height))
            begin += 1 << height
        result = perfect.pop()
        while perfect:
            result = node_hash(perfect.pop(), result)
        return result

    def _node(self, height: int, position: int) -> bytes:
        """Return the root of the perfect subtree of 2^height leaves at `position` among its equals."""
        level, above = divmod(height, TILE_HEIGHT)
        width = 1 << above
        index, offset = divmod(position * width, TILE_WIDTH)
        tile = self._tile(level, index)
        start, stop = offset * HASH_BYTES, (offset + width) * HASH_BYTES
        if len(tile) < stop:
            raise TileError(f"tile {level}/{index} holds {len(tile) // HASH_BYTES} hashes, needed are {offset + width}")
        return subtree_root(tile[at : at + HASH_BYTES] for at in range(start, stop, HASH_BYTES))

    def _tile(self, level: int, index: int) -> bytes:
        tile = self._tiles.get((level, index))
        if tile is None:
            tile = self._reader.hashes(level, index)
            if len(tile) % HASH_BYTES or len(tile) > TILE_WIDTH * HASH_BYTES:
                raise TileError(f"tile {level}/{index} is {len(tile)} bytes long, not 1 to {TILE_WIDTH} hashes")
            self._tiles[level, index] = tile
        return tile
