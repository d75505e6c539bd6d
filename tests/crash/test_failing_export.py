"""Each call that makes an export fails in turn: it is ready and whole, or failed and says why, and no part of a file stays."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from itertools import count
from typing import Any

import pytest

from tests.crash import injection
from tests.crash.checks import recorded
from tests.crash.conftest import Subject

# Every write, fsync and rename; of the calls of the database every so many-th, and all of them with EXPORTS=all in the shell.
STEP = 1 if os.environ.get("EXPORTS") == "all" else 7
ROWS = 1_500
_TEXT = "a line of text, and “quotes” about it\n" * 50
# Why there is no file, where it is not the file itself: the engine's pipe, or the row.
_OTHER_REASONS = ("The disk of the search index is full.", "The database could not be written while the file was made.")
_CALLS_MAX = 200


@pytest.fixture(scope="module")
def filled(subject: Subject) -> Subject:
    """A server whose export is a file of several megabytes, which is written in several steps."""
    injection.require()
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
    event = {"action": "export.tested", "actor": {"type": "test", "id": "1"}, "message": _TEXT}
    for _ in range(ROWS // 250):
        assert subject.server.request("POST", "/api/v1/events", json.dumps([event] * 250).encode(), headers)[0] == 201
    subject.server.wait_for_search()
    return subject


@pytest.mark.parametrize(
    ("calls", "error", "least", "step"),
    [
        ("write", "ENOSPC", 4, 1),
        ("fsync", "EIO", 4, 1),
        ("rename,renameat,renameat2", "EIO", 1, 1),
        ("chmod,fchmod,fchmodat", "EIO", 1, 1),
        ("pwrite64", "ENOSPC", 2, STEP),
    ],
    ids=["write", "fsync", "rename", "chmod", "database"],
)
def test_each_call_fails_in_turn(filled: Subject, calls: str, error: str, least: int, step: int) -> None:
    """The n-th call of every thread of the back fails, for each n that an export comes to."""
    ends: list[str] = []
    for nth in count(1, step):
        back = filled.server.back()
        assert back is not None
        with injection.failing(back, calls, error, str(nth), follow=True) as failed:
            made = filled.export("export.tested")
            happened = failed()
        ends.append(_check(filled, made))
        if not happened:
            break
        assert nth < _CALLS_MAX
    assert len(ends) > least
    assert ends[-1] == "ready", "nothing stands in the way any more"
    assert filled.server.get("/readyz")[0] == 200


def test_what_was_recorded_of_them(filled: Subject) -> None:
    """Each export has one record of how it ended, which says what its row says; last, so that it sees all those above."""
    server = filled.server
    headers = {"Authorization": f"Bearer {filled.key}"}
    rows: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = json.loads(server.get(f"/api/v1/exports?limit=100{cursor}", headers)[1])
        rows += page["data"]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    created = [
        event
        for event in recorded(server).values()
        if event["action"] == "export.downloaded" and event["metadata"]["stage"] == "created"  # type: ignore[index]
    ]
    told = {event["targets"][0]["id"]: event["outcome"] for event in created}  # type: ignore[index]
    assert len(told) == len(created)
    assert told == {row["id"]: "success" if row["status"] == "ready" else "failure" for row in rows}
    filled.check()


def _check(subject: Subject, made: dict[str, Any]) -> str:
    """It is whole, or told as failed with nothing left of it. Returns how it ended."""
    server = subject.server
    status, content = server.get(f"/api/v1/exports/{made['id']}/file", {"Authorization": f"Bearer {subject.key}"})
    left = [path.name for path in (server.data_dir / "exports").iterdir() if path.name.startswith(made["id"])]
    if made["status"] == "ready":
        assert status == 200
        assert (len(content), hashlib.sha256(content).hexdigest()) == (made["bytes"], made["sha256"])
        lines = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        assert len(lines) == made["rows"] == ROWS
        assert len({line["seq"] for line in lines}) == ROWS
        assert {line["message"] for line in lines} == {_TEXT}
        assert left == [f"{made['id']}.csv"]
    else:
        assert made["status"] == "failed"
        assert " cannot be written: " in made["error"] or made["error"] in _OTHER_REASONS, made
        assert str(server.data_dir) not in made["error"]
        assert status == 409
        assert left == []
    return str(made["status"])
