"""The hashes of a Merkle tree: leaves, nodes, and the root over a list of leaf hashes.

RFC 6962, Section 2.1 (the same tree as RFC 9162, Section 2.1) with SHA-256. The first byte of what is hashed says
whether it is a leaf or a node, so that no entry can be passed off as an inner node of the tree.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without entries."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry: SHA-256(0x00 ‖ entry)."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Hash many entries, in order. Does what `leaf_hash` does, without a Python call for each entry."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two neighbouring subtrees: SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def parent_hashes(nodes: Iterable[bytes]) -> list[bytes]:
    """Hash the nodes of one level pairwise into the level above. A last node without a partner is left out."""
    each = iter(nodes)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(each, each, strict=False)]


def subtree_root(hashes: Iterable[bytes]) -> bytes:
    """Compute the Merkle tree hash of RFC 6962, Section 2.1, over leaf hashes (or over any complete level of nodes).

    A node without a partner is carried up unhashed until it meets one, which gives the RFC's recursive split.
    """
    nodes = list(hashes)
    if not nodes:
        return EMPTY_ROOT
    while len(nodes) > 1:
        parents = parent_hashes(nodes)
        if len(nodes) % 2:
            parents.append(nodes[-1])
        nodes = parents
    return nodes[0]
