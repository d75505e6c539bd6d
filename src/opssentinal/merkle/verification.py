"""What an auditor runs: check inclusion and consistency proofs, trusting nothing but the roots.

RFC 9162, Sections 2.1.3.2 and 2.1.4.2. Whether a root can be trusted is for the signature on its checkpoint to say.
"""

from __future__ import annotations

from collections.abc import Sequence

from opssentinal.merkle.hashing import HASH_BYTES, node_hash


class ProofError(ValueError):
    """A proof does not show what it claims: entry, position, size, root or a hash of the proof is not the right one."""


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf_hash` is the leaf at `index` of the tree with `size` entries and root `root`.

    RFC 9162, Section 2.1.3.2. Returns nothing; raises `ProofError` where the proof does not hold.
    """
    if not 0 <= index < size:
        raise ProofError(f"index {index} is outside a tree of {size} entries")
    _require_hashes((leaf_hash, *proof))
    fn, sn = index, size - 1  # names of the RFC: position of the node and of the last node at its level
    computed = leaf_hash
    for sibling in proof:
        if sn == 0:
            raise ProofError("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            computed = node_hash(sibling, computed)
            fn, sn = _skip_unpaired(fn, sn)
        else:
            computed = node_hash(computed, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofError("the inclusion proof is too short")
    if computed != root:
        raise ProofError("the inclusion proof leads to another root")


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `first` entries is the beginning of the one of `second` entries.

    RFC 9162, Section 2.1.4.2. Returns nothing; raises `ProofError` where the proof does not hold. A `first` of zero
    is refused: the empty tree begins every tree, so a proof from it would show nothing.
    """
    if not 0 < first <= second:
        raise ProofError(f"no proof can show consistency from {first} to {second} entries")
    if first == second:
        if proof:
            raise ProofError("the consistency proof between equal sizes is not empty")
        if first_root != second_root:
            raise ProofError("two trees of one size have different roots")
        return
    if not proof:
        raise ProofError("the consistency proof is empty")
    _require_hashes((first_root, second_root, *proof))
    # A first tree that is perfect is itself the node to start from; the proof leaves it out.
    start, *rest = proof if first & (first - 1) else (first_root, *proof)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first_computed = second_computed = start
    for sibling in rest:
        if sn == 0:
            raise ProofError("the consistency proof is too long")
        if fn & 1 or fn == sn:
            first_computed = node_hash(sibling, first_computed)
            second_computed = node_hash(sibling, second_computed)
            fn, sn = _skip_unpaired(fn, sn)
        else:
            second_computed = node_hash(second_computed, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofError("the consistency proof is too short")
    if first_computed != first_root:
        raise ProofError("the consistency proof leads to another first root")
    if second_computed != second_root:
        raise ProofError("the consistency proof leads to another second root")


def _skip_unpaired(fn: int, sn: int) -> tuple[int, int]:
    """Pass the levels at which the last node has no sibling, and so was carried up as it is."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _require_hashes(hashes: Sequence[bytes]) -> None:
    # With hashes of another length the same bytes could be cut into two nodes in another way.
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofError(f"each hash is {HASH_BYTES} bytes long")
