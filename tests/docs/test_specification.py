"""The specifications say what the code does: their examples are run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from opssentinal.events.catalogue import CATEGORIES, EVENT_TYPES
from opssentinal.events.decoding import decode_event, same_content
from opssentinal.events.encoding import decode_recorded
from opssentinal.merkle import leaf_hash, node_hash, verify_inclusion
from tests.docs.verifier import documented_verifier, program

DOCS = Path(__file__).parents[2] / "docs"


def code_blocks(page: str) -> list[str]:
    return re.findall(r"```json\n(.*?)\n```", (DOCS / page).read_text(), re.DOTALL)


def test_the_example_event_can_be_sent() -> None:
    """The first thing a reader copies works."""
    event = decode_event(code_blocks("spec/event.md")[0].encode())
    assert event.action == "user.role_changed"
    assert event.targets[0].name == "Bob"


def test_every_event_type_is_documented() -> None:
    """The table of event types is that of the catalogue."""
    text = (DOCS / "spec/event.md").read_text()
    for kind in EVENT_TYPES.values():
        assert f"| `{kind.action}` | {kind.description} | {'yes' if kind.sensitive else ''} |" in text
    for title in CATEGORIES.values():
        assert f"### {title}\n" in text


def test_the_worked_example_of_an_entry_holds() -> None:
    """The digests, the leaf hash and the event itself follow from the printed strings, with nothing but SHA-256."""
    event, who, what, entry = code_blocks("spec/entry.md")
    says = json.loads(entry)
    assert says["who"] == b64encode(sha256(who.encode()).digest()).decode()
    assert says["what"] == b64encode(sha256(what.encode()).digest()).decode()
    printed = re.search(r"leaf hash: `([0-9a-f]{64})`", (DOCS / "spec/entry.md").read_text())
    assert printed is not None
    assert printed[1] == sha256(b"\x00" + entry.encode()).hexdigest() == leaf_hash(entry.encode()).hex()
    head = entry.partition(',"who":')[0]
    recorded = decode_recorded(0, head.encode(), who.encode(), what.encode())
    assert same_content(decode_event(event.encode()), recorded)


def test_the_worked_example_of_a_proof_holds() -> None:
    """It proves the entry of the other page, each printed hash follows from the ones before, and they lead to the root."""
    (answer,) = map(json.loads, code_blocks("spec/proof.md"))
    _, who, what, entry = code_blocks("spec/entry.md")
    assert (answer["entry"], answer["who"], answer["what"]) == (entry, who, what)
    first, second, third = path = [b64decode(each) for each in answer["inclusion_proof"]]
    leaf = leaf_hash(entry.encode())
    steps = [leaf, node_hash(leaf, first), node_hash(second, node_hash(leaf, first))]
    steps.append(node_hash(steps[-1], third))
    printed = re.findall(r"^\|.*`([0-9a-f]{64})` \|$", (DOCS / "spec/proof.md").read_text(), re.MULTILINE)
    assert printed == [step.hex() for step in steps]
    assert (answer["leaf_hash"], answer["root"]) == (printed[0], printed[-1])
    verify_inclusion(leaf, answer["seq"], answer["size"], path, bytes.fromhex(answer["root"]))


def test_the_printed_verifier_takes_the_example_and_nothing_else(tmp_path: Path) -> None:
    """Run as the page says; a changed text, place, size, root or hash is refused, and an erased part is none."""
    (answer,) = map(json.loads, code_blocks("spec/proof.md"))
    verify, size, root = documented_verifier(), answer["size"], answer["root"]
    verify(answer, size, root)
    verify(answer | {"who": None, "what": None}, size, root)
    hashes = answer["inclusion_proof"]
    for changed in (
        answer | {"entry": answer["entry"].replace("admin", "owner").replace("billing", "bulling")},
        answer | {"who": answer["who"].replace("Alice", "Bob")},
        answer | {"what": answer["what"].replace("member", "owner")},
        *(answer | {"seq": seq} for seq in (-1, 0, 1, 3, 4, 5)),
        answer | {"inclusion_proof": hashes[:-1]},
        answer | {"inclusion_proof": [*hashes, hashes[0]]},
        answer | {"inclusion_proof": hashes[::-1]},
        answer | {"inclusion_proof": [hashes[0], hashes[1], b64encode(b"short").decode()]},
    ):
        with pytest.raises(SystemExit):
            verify(changed, size, root)
    for other in (0, 1, 2, 3, 4, 9):
        with pytest.raises(SystemExit):
            verify(answer, other, root)
    (tmp_path / "verify.py").write_text(program())
    (tmp_path / "proof.json").write_text(json.dumps(answer))
    for kept, status in ((root, 0), (root[::-1], 1)):
        command = [sys.executable, "-I", "verify.py", "proof.json", str(size), kept]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == status
