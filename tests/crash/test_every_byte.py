"""Every byte value in every field, raw and as an escape: kept to the letter wherever one looks, or refused by its place."""

from __future__ import annotations

import csv
import io
import json
import time
from ipaddress import ip_address
from typing import Any

import msgspec

from opssentinal.events.model import RecordedEvent
from tests.crash.conftest import Subject
from tests.events.places import Place, places
from tests.search.csv_rows import FORMULA_STARTS, row_of

_CHARS = [*map(chr, range(256)), "\U0001f600", "\u202e", "\u2028", "\ufeff", "\uffff"]
_TEXTS = [f"a{char}b" for char in _CHARS] + [f"{start}b" for start in FORMULA_STARTS] + ["=1,\"2\"\r\n'3'"]
# Fields that take no free text: a text of their form, with every character in it, and how it is written when it is taken.
_FORMS: dict[str, tuple[str, Any]] = {
    "$.action": ("byte.sent@", str),
    "$.id": ("0193d2b4@7c3e-7f00-8000-000000000001", str),
    "$.outcome": ("success@", str),
    "$.occurred_at": ("2026-11-22@10:00:00Z", lambda text: text[:10] + "T" + text[11:]),
    "$.source": ("te@sts", str),
    "$.context.ip": ("::@", lambda text: str(ip_address(text.partition("%")[0]))),
    "$.context.api_key": ("@", str),
}
# Where free text stands in a CSV, alone or as a name.
_FREE_COLUMNS = {"Actor", "Target", "User Agent", "actor_type", "actor_id", "actor_email", "tenant", "message"}


def _send(subject: Subject, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": kind}
    status, content = subject.server.request("POST", "/api/v1/events", body, headers)
    return status, json.loads(content)


def test_every_character_in_every_field(subject: Subject) -> None:
    """Spelled as JSON spells it and as UTF-8: of free text all is kept but NUL, of other fields what has their form."""
    sent: dict[int, tuple[Place, str]] = {}
    for place in places():
        form, kept_as = _FORMS.get(place.path, (None, str))
        every = _TEXTS if form is None else [form.replace("@", char) for char in (*_CHARS, *FORMULA_STARTS)]
        for is_ascii, texts in ((True, every), (False, [text for text in every if not text.isascii()])):
            events = [place.event(text) for text in texts]
            status, answer = _send(subject, json.dumps(events, ensure_ascii=is_ascii).encode())
            assert status in (201, 207), answer
            for text, result in zip(texts, answer["results"], strict=True):
                if result["status"] in ("accepted", "duplicate"):
                    sent[result["seq"]] = (place, kept_as(text))
                else:
                    assert result["error"]["path"] == place.path
                    assert form is not None or "\0" in text, (place, text, result)
    events = subject.check()  # every event of search is the event of the ledger
    never = {place.path for place in places()} - {place.path for place, _ in sent.values()}
    assert never == {"$.outcome", "$.source", "$.context.api_key"}
    for seq, (place, text) in sent.items():
        assert place.text(events[seq]) == text
    _check_csv(subject, events)


def test_every_raw_byte_that_is_no_text(subject: Subject) -> None:
    """Control characters and single bytes over 127, as they are, in each field: refused by their place, and alone."""
    good = {"action": "byte.beside", "actor": {"type": "test", "id": "1"}}
    beside: list[int] = []
    for place in places():
        bad = json.dumps(place.event("a@b")).encode()
        controls = [bad.replace(b"@", bytes((value,))) for value in range(32)]
        for body in controls:
            status, problem = _send(subject, body)
            assert (status, problem["code"]) == (400, "malformed_json")
            assert f"byte {bad.index(b'@')}" in problem["detail"]
        first = json.dumps(good).encode()
        status, answer = _send(subject, b"\n".join((first, *controls, first)), "application/x-ndjson")
        refused = [result.get("error") for result in answer["results"][1:-1]]
        assert len(refused) == 33  # a line feed makes two lines of one
        assert all(error["detail"].startswith("is no JSON: ") for error in refused)
        beside += _good_ones(status, answer)
        highs = [bad.replace(b"@", bytes((value,))) for value in range(128, 256)]
        status, answer = _send(subject, b"[" + b",".join((first, *highs, first)) + b"]")
        errors = [result["error"] for result in answer["results"][1:-1]]
        assert {error["path"] for error in errors} == {place.path}
        for value, error in zip(range(128, 256), errors, strict=True):
            assert f"byte 0x{value:02x}" in error["detail"]
        beside += _good_ones(status, answer)
    events = subject.check()
    assert [events[seq]["action"] for seq in beside] == ["byte.beside"] * 4 * len(places())


def _good_ones(status: int, answer: Any) -> list[int]:
    """The places in the log of the first and the last event of a request, of which no other was taken."""
    first, *others, last = answer["results"]
    assert (status, first["status"], last["status"]) == (207, "accepted", "accepted")
    assert {other["status"] for other in others} == {"rejected"}
    return [first["seq"], last["seq"]]


def _check_csv(subject: Subject, events: dict[int, dict[str, object]]) -> None:
    """Of each event one row, whose cells say what docs/guide/export.md promises; none begins like a formula."""
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
    status, answer = subject.server.request("POST", "/api/v1/exports", b'{"filter":{"source":"tests"}}', headers)
    assert status == 202
    address = f"/api/v1/exports/{json.loads(answer)['id']}"
    deadline = time.monotonic() + 120
    while subject.server.api(address, subject.key)["status"] != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    status, content = subject.server.get(f"{address}/file", headers)
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))
    assert {int(row["seq"]) for row in rows} == {seq for seq, event in events.items() if event["source"] == "tests"}
    neutral = set()
    for row in rows:
        event = events[int(row["seq"])]
        parts = ("targets", "changes", "metadata")
        assert [json.loads(row[f"{part}_json"]) for part in parts] == [event[part] for part in parts]
        as_json = [row[f"{part}_json"] for part in parts]
        assert list(row.values()) == row_of(msgspec.convert(event, RecordedEvent), as_json)
        assert not [cell for cell in row.values() if cell.startswith(FORMULA_STARTS)]
        neutral |= {
            name for name, cell in row.items() if cell.startswith(tuple(f"'{start}" for start in FORMULA_STARTS))
        }
    assert neutral == _FREE_COLUMNS
