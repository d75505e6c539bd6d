"""prove(): one event as it is stored, and the hashes that lead from it to a root of the log. The rules are docs/spec/proof.md."""

from __future__ import annotations

from typing import NamedTuple

from opssentinal.errors import IntegrityError, InvalidInput
from opssentinal.events.encoding import EncodedEvent
from opssentinal.ledger.head import Head, head
from opssentinal.ledger.reader import read_lines
from opssentinal.ledger.snapshot import snapshot
from opssentinal.ledger.tiles import LedgerHashes
from opssentinal.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)


class ProvenEvent(NamedTuple):
    """The lines of the event at `seq`, its leaf hash, and the inclusion proof under the root of the first `size` entries."""

    seq: int
    lines: EncodedEvent
    leaf_hash: bytes
    size: int
    root: bytes
    inclusion_proof: list[bytes]


def prove(seq: int, size: int | None = None) -> ProvenEvent:
    """Prove that the event at `seq` is among the first `size` entries of the log; by default of all of them.

    Everything is read in one snapshot and verified up to the head's root before it is returned. Costs a few tiles per level
    and at most three times 256 leaves, however long the log: those around the event and at the right edges of both trees.

    Raises NotFound as `read_event` does, InvalidInput for a size that the log does not have or the event is not in, and
    IntegrityError where the proof does not hold.
    """
    with snapshot():
        top = head()
        lines = read_lines(seq)
        if size is not None and not seq < size <= top.size:
            raise InvalidInput(
                f"must be from {seq + 1} (the event is in it) to {top.size} (the whole log)", path="size"
            )
        try:
            return _proven(seq, lines, top.size if size is None else size, top)
        except ValueError as error:  # TileError, ProofError, and what merkle says of a seq beyond the head
            raise IntegrityError(f"Event {seq} cannot be proved: {error}.", hint="Run opssentinal fsck.") from error


def _proven(seq: int, lines: EncodedEvent, size: int, top: Head) -> ProvenEvent:
    hashes = LedgerHashes()
    leaf, tree_root = leaf_hash(lines.entry), root(size, hashes)
    path = inclusion_proof(seq, size, hashes)
    verify_inclusion(leaf, seq, size, path, tree_root)
    verify_consistency(size, top.size, tree_root, top.root, consistency_proof(size, top.size, hashes))
    return ProvenEvent(seq, lines, leaf, size, tree_root, path)
