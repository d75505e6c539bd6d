"""`opssentinal export`, as a person and a script at the terminal use it."""

from __future__ import annotations

import hashlib
import io
import json
import pty
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections

from opssentinal.errors import InvalidInput, InvalidQuery, Unavailable
from opssentinal.exports import jobs
from opssentinal.exports.models import Export
from tests.exports.conftest import Back, downloads, events, record_events


@pytest.fixture(autouse=True)
def working(back: Back) -> Iterator[None]:
    """The back's loop over the queue."""
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.wait(0.05):
                jobs.run_queued_exports(stop)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join(30)


def run(*args: str) -> str:
    shown = io.StringIO()
    call_command("export", *args, stdout=shown)
    return shown.getvalue()


def test_a_file_is_written_and_told_of(tmp_path: Path) -> None:
    """Exactly the events of the query, a file for its owner only, and a summary whose SHA-256 is that of the file."""
    record_events(events(50))
    path = tmp_path / "out.jsonl"
    summary = json.loads(run("actor:usr_7", "--output", str(path), "--json"))
    content = path.read_bytes()
    assert summary["format"] == "jsonl"
    assert (summary["rows"], content.count(b"\n")) == (1, 1)
    assert summary["sha256"] == hashlib.sha256(content).hexdigest()
    assert summary["bytes"] == len(content)
    assert (summary["output"], summary["query"]) == (str(path), "actor:usr_7")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_options_are_terms(tmp_path: Path) -> None:
    """--actor and the rest narrow the query; a summary in words without --json."""
    record_events(events(50))
    shown = run("--actor", "usr_7", "--actor", "usr_8", "--outcome", "success", "--output", str(tmp_path / "a.csv"))
    assert shown.startswith("2 events, ")
    assert "SHA-256 " in shown
    assert Export.objects.get().query == "actor:usr_7,usr_8 outcome:success"


def test_standard_output(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """With - the file goes to standard output and nothing else does; the summary to standard error."""
    record_events(events(3))
    with open(1, "w", closefd=False) as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        call_command("export", "--output", "-", "--format", "csv", "--bom")
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"\xef\xbb\xbfTimestamp (UTC),")
    assert hashlib.sha256(out).hexdigest() == Export.objects.get().sha256
    assert b"3 events" in err


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    """What events hold would be obeyed by it. Nothing is made, and the hint says what to do instead."""
    record_events(events(3))
    ours, theirs = pty.openpty()
    with open(ours, "rb"), open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        with pytest.raises(InvalidInput, match="terminal") as refused:
            call_command("export", "--output", "-", "--format", format)
    assert "Redirect" in refused.value.hint and "search" in refused.value.hint
    assert not Export.objects.exists()


def test_both_stages_name_the_person_at_the_terminal(tmp_path: Path) -> None:
    """One event created and one fetched, by the operating system's user."""
    run("--output", str(tmp_path / "a.csv"))
    assert [event.metadata["stage"] for event in downloads()] == ["created", "fetched"]
    assert {event.actor.type for event in downloads() if event.actor} == {"os_user"}


def test_without_a_server_it_says_so(back: Back, tmp_path: Path) -> None:
    """No search service on the socket: the reason and what to do, nothing queued, exit status 69."""
    back.stop()
    with pytest.raises(Unavailable, match="Search is not running") as refused:
        run("--output", str(tmp_path / "a.csv"))
    assert "opssentinal serve" in refused.value.hint
    assert refused.value.exit_code == 69
    assert not Export.objects.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_said_before_anything_is_made(tmp_path: Path) -> None:
    """A query that cannot be read or a folder that is not there: no export, no event."""
    with pytest.raises(InvalidQuery):
        run("nonsense:1")
    with pytest.raises(InvalidInput, match="no folder"):
        run("--output", str(tmp_path / "absent" / "a.csv"))
    assert not Export.objects.exists()
    assert downloads() == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder in the file's place: said with its path, and no part of the file left beside it."""
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(Unavailable, match=r"a\.csv cannot be written"):
        run("--output", str(tmp_path / "a.csv"))
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv"]
