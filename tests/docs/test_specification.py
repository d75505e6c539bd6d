"""The specifications say what the code does: their examples are run."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from opssentinal.events.catalogue import CATEGORIES, EVENT_TYPES
from opssentinal.events.decoding import decode_event, same_content
from opssentinal.events.encoding import decode_recorded
from opssentinal.merkle import leaf_hash

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
