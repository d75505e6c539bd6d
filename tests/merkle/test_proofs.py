"""Proofs read from tiles are those of RFC 6962, they verify, and anything else does not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opssentinal.merkle import (
    EMPTY_ROOT,
    ProofError,
    TileError,
    consistency_proof,
    inclusion_proof,
    node_hash,
    root,
    tile_width,
    verify_consistency,
    verify_inclusion,
)

from .naive import TREE, NaiveReader, NaiveTree

SIZES = st.one_of(st.integers(1, 600), st.integers(65_000, 66_600), st.integers(1, TREE.size))


@st.composite
def size_pairs(draw: st.DrawFn) -> tuple[int, int]:
    """Two sizes, 0 < first <= second."""
    first, second = sorted((draw(SIZES), draw(SIZES)))
    return first, second


def test_every_small_inclusion_proof() -> None:
    """For every index of every tree of up to 70 entries, the proof from tiles is PATH of the RFC and verifies."""
    for size in range(1, 71):
        reader = NaiveReader(TREE, size)
        assert root(size, reader) == TREE.mth(0, size)
        for index in range(size):
            proof = inclusion_proof(index, size, reader)
            assert proof == TREE.path(index, 0, size)
            verify_inclusion(TREE.leaves[index], index, size, proof, TREE.mth(0, size))


def test_every_small_consistency_proof() -> None:
    """For every pair of sizes of up to 70, the proof from tiles is SUBPROOF of the RFC and verifies."""
    for second in range(1, 71):
        reader = NaiveReader(TREE, second)
        for first in range(1, second + 1):
            proof = consistency_proof(first, second, reader)
            assert proof == TREE.subproof(first, 0, second, True)
            verify_consistency(first, second, TREE.mth(0, first), TREE.mth(0, second), proof)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_inclusion_proof_across_tile_levels(data: st.DataObject) -> None:
    """At any size up to three tile levels the proof is the RFC's, also if the tiles have grown since."""
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    reader = NaiveReader(TREE, data.draw(st.sampled_from([size, TREE.size])))
    proof = inclusion_proof(index, size, reader)
    assert proof == TREE.path(index, 0, size)
    verify_inclusion(TREE.leaves[index], index, size, proof, TREE.mth(0, size))
    assert len(set(reader.read)) == len(reader.read)
    assert root(size, reader) == TREE.mth(0, size)


@settings(max_examples=150, deadline=None)
@given(size_pairs(), st.booleans())
def test_consistency_proof_across_tile_levels(sizes: tuple[int, int], grown: bool) -> None:
    """Between any two sizes up to three tile levels the proof is the RFC's, also if the tiles have grown since."""
    first, second = sizes
    reader = NaiveReader(TREE, TREE.size if grown else second)
    proof = consistency_proof(first, second, reader)
    assert proof == TREE.subproof(first, 0, second, True)
    verify_consistency(first, second, TREE.mth(0, first), TREE.mth(0, second), proof)
    assert len(set(reader.read)) == len(reader.read)


@settings(max_examples=150, deadline=None)
@given(size_pairs(), st.data())
def test_pruned_tiles_are_not_needed(sizes: tuple[int, int], data: st.DataObject) -> None:
    """With level 0 pruned below a minimum index, everything from that index on can still be proved."""
    first, second = sizes
    minimum_index = data.draw(st.integers(0, first // 256)) * 256
    reader = NaiveReader(TREE, second, minimum_index)
    assert root(second, reader) == TREE.mth(0, second)
    assert consistency_proof(first, second, reader) == TREE.subproof(first, 0, second, True)
    if minimum_index < second:
        index = data.draw(st.integers(minimum_index, second - 1))
        assert inclusion_proof(index, second, reader) == TREE.path(index, 0, second)


def flip(hash_: bytes, bit: int) -> bytes:
    return (int.from_bytes(hash_, "big") ^ 1 << bit).to_bytes(32, "big")


@settings(deadline=None)
@given(st.data())
def test_tampered_inclusion_is_refused(data: st.DataObject) -> None:
    """One changed bit anywhere, another position or size, a hash more, less or out of place: refused."""
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    leaf, proof, tree_root = TREE.leaves[index], TREE.path(index, 0, size), TREE.mth(0, size)
    bit = data.draw(st.integers(0, 255))
    at = data.draw(st.integers(0, len(proof)))
    tampered = [
        (flip(leaf, bit), index, size, proof, tree_root),
        (leaf, index, size, proof, flip(tree_root, bit)),
        (leaf, index ^ 1, size, proof, tree_root),
        (leaf, index + size, size, proof, tree_root),
        (leaf, index - size, size, proof, tree_root),
        (leaf, index, size, [*proof[:at], tree_root, *proof[at:]], tree_root),
        (leaf, index, size * 2, proof, tree_root),
        (leaf, index, 0, proof, tree_root),
    ]
    if at < len(proof):
        tampered += [
            (leaf, index, size, [*proof[:at], flip(proof[at], bit), *proof[at + 1 :]], tree_root),
            (leaf, index, size, [*proof[:at], *proof[at + 1 :]], tree_root),
            (leaf, index, size, [*proof[:at], proof[at][:31], *proof[at + 1 :]], tree_root),
        ]
    for arguments in tampered:
        with pytest.raises(ProofError):
            verify_inclusion(*arguments)


@settings(deadline=None)
@given(size_pairs(), st.data())
def test_tampered_consistency_is_refused(sizes: tuple[int, int], data: st.DataObject) -> None:
    """One changed bit in a root or in the proof, other sizes, a hash more or less: refused."""
    first, second = sizes
    one, two = TREE.mth(0, first), TREE.mth(0, second)
    proof = TREE.subproof(first, 0, second, True)
    bit = data.draw(st.integers(0, 255))
    at = data.draw(st.integers(0, len(proof)))
    tampered = [
        (first, second, flip(one, bit), two, proof),
        (first, second, one, flip(two, bit), proof),
        (first, second, one, two, [*proof[:at], one, *proof[at:]]),
        (0, second, EMPTY_ROOT, two, proof),
        (-first, second, one, two, proof),
        (first, second * 2, one, two, proof),
        (second + 1, second, one, two, proof),
    ]
    if first < second:
        tampered += [(second, first, two, one, proof), (first, second, two, one, proof)]
    if at < len(proof):
        tampered += [
            (first, second, one, two, [*proof[:at], flip(proof[at], bit), *proof[at + 1 :]]),
            (first, second, one, two, [*proof[:at], *proof[at + 1 :]]),
            (first, second, one, two, [*proof[:at], proof[at] + b"\x00", *proof[at + 1 :]]),
        ]
    for arguments in tampered:
        with pytest.raises(ProofError):
            verify_consistency(*arguments)


def test_hashes_cut_elsewhere_are_refused() -> None:
    """A proof that cuts the bytes of two nodes in another place hashes to the same root and is refused all the same."""
    leaf, sibling, tree_root = TREE.leaves[0], TREE.leaves[1], TREE.mth(0, 2)
    verify_inclusion(leaf, 0, 2, [sibling], tree_root)
    with pytest.raises(ProofError, match="32 bytes"):
        verify_inclusion(leaf[:31], 0, 2, [leaf[31:] + sibling], tree_root)
    verify_consistency(1, 2, leaf, tree_root, [sibling])
    with pytest.raises(ProofError, match="32 bytes"):
        verify_consistency(1, 2, leaf[:31], tree_root, [leaf[31:] + sibling])


def test_sizes_that_the_root_does_not_have_are_refused() -> None:
    """A proof cannot claim a smaller tree than its root is of, by going on above that tree's own root."""
    with pytest.raises(ProofError, match="too long"):
        verify_inclusion(TREE.leaves[1], 0, 1, [TREE.leaves[0]], TREE.mth(0, 2))
    above = TREE.mth(8, 16)
    proof = TREE.subproof(5, 0, 6, True)
    verify_consistency(5, 6, TREE.mth(0, 5), TREE.mth(0, 6), proof)
    roots = node_hash(above, TREE.mth(0, 5)), node_hash(above, TREE.mth(0, 6))
    with pytest.raises(ProofError, match="too long"):
        verify_consistency(5, 6, *roots, [*proof, above])
    for first, second in ((3, 1), (5, 1), (7, 1)):
        with pytest.raises(ProofError, match="no proof"):
            verify_consistency(first, second, above, above, [above])


def test_a_rewritten_log_cannot_be_proved_consistent() -> None:
    """If one early entry was changed, no proof from the rewritten tree fits the root that was seen before."""
    rewritten = NaiveTree(300)
    rewritten.leaves[17] = flip(rewritten.leaves[17], 0)
    proof = consistency_proof(100, 300, NaiveReader(rewritten, 300))
    verify_consistency(100, 300, rewritten.mth(0, 100), rewritten.mth(0, 300), proof)
    with pytest.raises(ProofError, match="first root"):
        verify_consistency(100, 300, TREE.mth(0, 100), rewritten.mth(0, 300), proof)


def test_what_cannot_be_proved_is_refused() -> None:
    """Indexes outside the tree and sizes the wrong way round are errors of the caller, said at once."""
    reader = NaiveReader(TREE, 10)
    for index, size in ((-1, 10), (10, 10), (0, 0)):
        with pytest.raises(ValueError, match="outside"):
            inclusion_proof(index, size, reader)
    for first, second in ((0, 10), (-1, 10), (11, 10), (0, 0)):
        with pytest.raises(ValueError, match="no consistency proof"):
            consistency_proof(first, second, reader)
    with pytest.raises(ValueError, match="negative"):
        root(-1, reader)
    assert root(0, reader) == EMPTY_ROOT
    assert reader.read == []


def test_damaged_tiles_are_refused() -> None:
    """A tile with too few hashes, half a hash or too many of them never becomes a proof."""

    class Damaged:
        def __init__(self, content: bytes) -> None:
            self.content = content

        def hashes(self, level: int, index: int) -> bytes:
            return self.content

    whole = NaiveReader(TREE, 300).hashes(0, 0)
    for content, size in ((b"", 255), (whole[:-64], 255), (whole[:-1], 100), (whole + bytes(32), 255)):
        with pytest.raises(TileError):
            root(size, Damaged(content))
        with pytest.raises(TileError):
            inclusion_proof(3, size, Damaged(content))


@settings(deadline=None)
@given(SIZES, st.integers(0, 2), st.integers(0, 300))
def test_tile_width_is_what_the_tile_holds(size: int, level: int, index: int) -> None:
    """A reader can know how wide a tile is from the size of the tree alone."""
    assert tile_width(size, level, index) * 32 == len(NaiveReader(TREE, size).hashes(level, index))
