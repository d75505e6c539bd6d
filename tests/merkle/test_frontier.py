"""Growing a tree by its right edge gives the tree, and the tiles, that hashing everything again would give."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opssentinal.merkle import Frontier, Growth, TileExtension, hash_count, subtree_root

from .naive import TREE, NaiveReader

SIZES = st.one_of(st.integers(0, 70), st.integers(0, 1_100), st.integers(65_000, 66_600), st.integers(0, TREE.size))


def grow(sizes: list[int]) -> list[Growth]:
    """Append the leaves of TREE so that the tree has one of `sizes` after the other."""
    frontier, growths = Frontier(), []
    for begin, end in itertools.pairwise([0, *sizes]):
        growths.append(frontier.append(TREE.leaves[begin:end]))
        frontier = growths[-1].frontier
    return growths


def test_every_small_split() -> None:
    """From any size to any other up to 70: root, number of hashes and the old frontier are what they must be."""
    for first in range(71):
        [before] = grow([first])
        assert before.frontier.root() == TREE.mth(0, first)
        raw = before.frontier.to_bytes()
        for second in range(first, 71):
            after = before.frontier.append(iter(TREE.leaves[first:second])).frontier
            assert (after.size, after.root()) == (second, TREE.mth(0, second))
            assert len(after.hashes) == second.bit_count()
        assert before.frontier.to_bytes() == raw


@settings(max_examples=40, deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=6).map(sorted))
def test_any_split_gives_the_naive_root(sizes: list[int]) -> None:
    """However the leaves are cut into batches, each root is the naive one and each hash a perfect subtree's."""
    for size, growth in zip(sizes, grow(sizes), strict=True):
        assert growth.frontier.root() == TREE.mth(0, size)
        begin = 0
        for node, bit in zip(growth.frontier.hashes, [b for b in range(17, -1, -1) if size >> b & 1], strict=True):
            assert node == TREE.mth(begin, begin + 2**bit)
            begin += 2**bit


@settings(max_examples=40, deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=6).map(sorted))
def test_tiles_hold_every_complete_subtree_once(sizes: list[int]) -> None:
    """Written where the extensions say, the tiles of level 1 and up are the naive ones, gapless after each append."""
    tiles: dict[tuple[int, int], bytes] = {}
    for size, growth in zip(sizes, grow(sizes), strict=True):
        for extension in growth.tile_extensions():
            tile = tiles.get((extension.level, extension.index), b"")
            assert len(tile) == 32 * extension.offset
            assert extension.hashes
            tiles[extension.level, extension.index] = tile + extension.hashes
        reader = NaiveReader(TREE, size)
        wanted = {
            (level, index): reader.hashes(level, index)
            for level in (1, 2)
            for index in range(-(-hash_count(size, level) // 256))
        }
        assert tiles == wanted


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES)
def test_completed_hashes_are_subtree_roots_in_order(one: int, other: int) -> None:
    """`tile_hashes` names exactly the 256- and 65,536-leaf subtrees that were finished by this append."""
    first, second = sorted((one, other))
    growth = grow([first, second])[1]
    for level, leaves in ((1, 256), (2, 65_536)):
        finished = range(first // leaves, second // leaves)
        naive = [subtree_root(TREE.leaves[at * leaves : (at + 1) * leaves]) for at in finished]
        assert growth.tile_hashes.get(level, []) == naive
        assert naive == [TREE.mth(at * leaves, (at + 1) * leaves) for at in finished]
    assert set(growth.tile_hashes) <= {1, 2}


def test_extensions_are_cut_at_the_bounds_of_tiles() -> None:
    """An append across the end of a tile fills that tile and begins the next."""
    growth = grow([250 * 256 + 3, 259 * 256])[1]
    first, second, third = growth.tile_extensions()
    assert first == TileExtension(1, 0, 250, b"".join(TREE.mth(at * 256, at * 256 + 256) for at in range(250, 256)))
    assert second == TileExtension(1, 1, 0, b"".join(TREE.mth(at * 256, at * 256 + 256) for at in range(256, 259)))
    assert third == TileExtension(2, 0, 0, TREE.mth(0, 65_536))


@settings(max_examples=30, deadline=None)
@given(SIZES)
def test_subtree_root_is_the_naive_tree_hash(size: int) -> None:
    """`subtree_root` over any number of leaf hashes is the Merkle tree hash of RFC 6962."""
    assert subtree_root(TREE.leaves[:size]) == TREE.mth(0, size)


@settings(max_examples=30, deadline=None)
@given(SIZES)
def test_bytes_round_trip(size: int) -> None:
    """What `to_bytes` writes, `from_bytes` reads, with 32 bytes for each bit of the size."""
    frontier = grow([size])[0].frontier
    assert len(frontier.to_bytes()) == 32 * size.bit_count()
    assert Frontier.from_bytes(size, frontier.to_bytes()) == frontier


@given(st.integers(0, 2**40), st.integers(0, 1_400))
def test_bytes_of_another_length_are_refused(size: int, length: int) -> None:
    """A frontier that does not fit its size never becomes one."""
    if length == 32 * size.bit_count():
        length += 1
    with pytest.raises(ValueError, match="hashes"):
        Frontier.from_bytes(size, bytes(length))


def test_what_is_no_hash_is_refused() -> None:
    """An entry given for its hash, a short hash in a frontier or a negative size is an error, not a wrong root."""
    with pytest.raises(ValueError, match="32 bytes"):
        Frontier().append([bytes(32), b"an entry"])
    with pytest.raises(ValueError, match="32 bytes"):
        Frontier(3, (bytes(31), bytes(33)))
    with pytest.raises(ValueError, match="negative"):
        Frontier(-1, (bytes(32),))
