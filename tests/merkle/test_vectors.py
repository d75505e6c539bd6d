"""Other people's truth: the proofs of the transparency-dev test vectors, and the roots that every implementation knows.

The vectors (Apache-2.0) are not part of the repository; they lie beside it in `shared/vectors/rfc6962`.
"""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from opssentinal.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    leaf_hash,
    leaf_hashes,
    node_hash,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "rfc6962" / "testdata"

# The classic test tree of the Certificate Transparency implementations: its entries, and its root after each.
ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def vectors(kind: str) -> list[Any]:
    """One parameter per vector file, named by its path, or one that says why there is none."""
    folder = VECTORS / kind
    if not folder.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no test vectors at {folder}"))]
    return [pytest.param(path, id=str(path.relative_to(folder))) for path in sorted(folder.rglob("*.json"))]


def hashes(encoded: list[str] | None) -> list[bytes]:
    return [b64decode(each) for each in encoded or []]


@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_vectors_are_all_there(kind: str) -> None:
    """Where there are vectors, they are the whole set: honest proofs and refused ones of both kinds."""
    if not (VECTORS / kind).is_dir():
        pytest.skip(f"no test vectors at {VECTORS / kind}")
    wanted = [json.loads(path.read_text())["wantErr"] for path in (VECTORS / kind).rglob("*.json")]
    assert len(wanted) >= 98
    assert {True, False} == set(wanted)


@pytest.mark.parametrize("path", vectors("inclusion"))
def test_inclusion_vector(path: Path) -> None:
    """An inclusion proof is accepted exactly where the vector says so."""
    vector = json.loads(path.read_text())
    arguments = (
        b64decode(vector["leafHash"]),
        vector["leafIdx"],
        vector["treeSize"],
        hashes(vector["proof"]),
        b64decode(vector["root"]),
    )
    if vector["wantErr"]:
        with pytest.raises(ProofError):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@pytest.mark.parametrize("path", vectors("consistency"))
def test_consistency_vector(path: Path) -> None:
    """A consistency proof is accepted exactly where the vector says so."""
    vector = json.loads(path.read_text())
    arguments = (
        vector["size1"],
        vector["size2"],
        b64decode(vector["root1"]),
        b64decode(vector["root2"]),
        hashes(vector["proof"]),
    )
    if vector["wantErr"]:
        with pytest.raises(ProofError):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_of_the_classic_tree(size: int) -> None:
    """The tree over the first entries of the classic test tree has the root that everybody gets."""
    leaves = leaf_hashes(ENTRIES[:size])
    assert subtree_root(leaves).hex() == ROOTS[size]
    assert Frontier().append(leaves).frontier.root().hex() == ROOTS[size]


def test_hashes_of_the_smallest_trees() -> None:
    """The empty root, a leaf and a node are what RFC 6962, Section 2.1, says; one by one and in bulk alike."""
    assert EMPTY_ROOT.hex() == ROOTS[0]
    assert leaf_hash(b"").hex() == ROOTS[1]
    assert leaf_hashes(ENTRIES) == [leaf_hash(entry) for entry in ENTRIES]
    assert node_hash(leaf_hash(b""), leaf_hash(b"\x00")).hex() == ROOTS[2]
