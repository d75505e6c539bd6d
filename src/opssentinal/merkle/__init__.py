"""The Merkle tree of the log: hashes, growth, tiles, proofs and their verification.

RFC 6962 / RFC 9162 with SHA-256, cut into tiles as c2sp.org/tlog-tiles does. Imports nothing but the standard library,
so an auditor can check what a server claims without the rest of the product::

    verify_inclusion(leaf_hash(entry), index, size, proof, root)

Whoever keeps a log appends through the `Frontier`, stores the tiles it completes, and proves from them::

    growth = frontier.append(leaf_hashes(entries))
    growth.frontier.root(), growth.tile_extensions()
    inclusion_proof(index, size, reader)
"""

from opssentinal.merkle.frontier import Frontier, Growth, TileExtension
from opssentinal.merkle.hashing import EMPTY_ROOT, HASH_BYTES, leaf_hash, leaf_hashes, node_hash, subtree_root
from opssentinal.merkle.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    HashReader,
    TileError,
    consistency_proof,
    hash_count,
    inclusion_proof,
    root,
    tile_width,
)
from opssentinal.merkle.verification import ProofError, verify_consistency, verify_inclusion

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "Frontier",
    "Growth",
    "HashReader",
    "ProofError",
    "TileError",
    "TileExtension",
    "consistency_proof",
    "hash_count",
    "inclusion_proof",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "root",
    "subtree_root",
    "tile_width",
    "verify_consistency",
    "verify_inclusion",
]
