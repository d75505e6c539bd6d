"""What commands leave in the log about themselves: who looked, who verified, who cleaned up, and that it never gets in the way."""

from __future__ import annotations

import getpass
import json
import time
from pathlib import Path
from typing import Any

import pysqlite3
import pytest
from django.core.cache import cache

from opssentinal.commands import recorded
from opssentinal.ledger.reader import newest
from opssentinal.workspace.viewing import VIEW_EVERY_S
from tests.cli.conftest import Cli
from tests.ledger.conftest import reset_head

SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "cloudtrail-sample.json"


def _events(cli: Cli, action: str) -> list[dict[str, Any]]:
    lines = cli("tail", "-n", "500", "--json").stdout.splitlines()
    return [event for event in map(json.loads, lines) if event["action"] == action]


def _refuse_writing(data_dir: Path) -> None:
    """Have the database refuse every further entry, as it does on a full disk."""
    database = pysqlite3.connect(data_dir / "opssentinal.sqlite3")
    database.execute(
        "CREATE TRIGGER full BEFORE INSERT ON ledger_bundle BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    database.commit()
    database.close()


def test_a_look_is_recorded_and_not_shown_by_itself(cli: Cli) -> None:
    """tail shows the log as it was before; the next one shows who looked, and nothing of what was printed."""
    assert cli("tail").stdout == ""
    (event, *_) = _events(cli, "audit_log.viewed")
    assert event["actor"]["type"] == "os_user"
    assert event["actor"]["id"].startswith(f"{getpass.getuser()}@")
    assert (event["source"], event["outcome"], event["metadata"]) == ("opssentinal", "success", {"view": "tail"})


@pytest.mark.django_db(transaction=True)
def test_one_look_in_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who looks again and again is recorded once in ten minutes for each way of looking; another one anew."""
    reset_head()
    cache.clear()
    begin, steady = 1_800_000_000.0, time.monotonic
    clock = [begin]
    monkeypatch.setattr("time.time", lambda: clock[0])
    monkeypatch.setattr("time.monotonic", lambda: steady() + clock[0] - begin)

    def views() -> int:
        return sum(event.action == "audit_log.viewed" for event in newest(100))

    for _ in range(3):
        recorded.record_view("tail")
        clock[0] += 199
    assert views() == 1
    recorded.record_view("search")
    assert views() == 2
    monkeypatch.setenv("SUDO_USER", "mallory")
    recorded.record_view("search")
    assert views() == 3
    clock[0] += VIEW_EVERY_S
    recorded.record_view("search")
    assert views() == 4


def test_verification_is_recorded(cli: Cli) -> None:
    """fsck leaves what it checked and what came of it."""
    assert cli("import", "cloudtrail", str(SAMPLE)).returncode == 0
    report = json.loads(cli("fsck", "--json").stdout)
    (event,) = _events(cli, "audit_log.verified")
    assert event["outcome"] == "success"
    assert (event["metadata"]["size"], event["metadata"]["problems"]) == (37, 0)
    assert event["metadata"]["root"] == report["root"]


def test_a_failed_verification_is_recorded_as_one(cli: Cli, data_dir: Path) -> None:
    """Where fsck finds something, the log says so too, with the number of problems."""
    assert cli("import", "cloudtrail", str(SAMPLE)).returncode == 0
    database = pysqlite3.connect(data_dir / "opssentinal.sqlite3")
    database.execute("UPDATE ledger_bundle SET recorded_to_us = recorded_to_us - 1 WHERE first_seq = 0")
    database.commit()
    database.close()
    assert cli("fsck").returncode == 70
    (event,) = _events(cli, "audit_log.verified")
    assert event["outcome"] == "failure"
    assert event["metadata"]["problems"] >= 1


def test_a_cleanup_is_recorded(cli: Cli) -> None:
    """cleanup leaves all of its counts; its dry run leaves nothing."""
    assert cli("cleanup", "--dry-run").returncode == 0
    assert _events(cli, "cleanup.finished") == []
    assert cli("cleanup").returncode == 0
    (event,) = _events(cli, "cleanup.finished")
    counts = dict.fromkeys(("sessions", "exports", "deliveries", "incidents"), 0)
    assert (event["actor"]["type"], event["metadata"]) == ("os_user", counts)


def test_reading_goes_on_when_nothing_can_be_written(cli: Cli, data_dir: Path) -> None:
    """With a log that takes nothing, tail and fsck do their work and say that there is no record of it."""
    assert cli("import", "cloudtrail", str(SAMPLE)).returncode == 0
    _refuse_writing(data_dir)
    for command, lines in (("tail", 20), ("fsck", 2)):
        done = cli(command)
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) == lines
        assert "could not be recorded" in done.stderr
        assert "the disk is full" in done.stderr


def test_check_leaves_no_record(cli: Cli) -> None:
    """check reads no event, and records nothing."""
    assert cli("check").returncode == 0
    assert cli("tail", "--json").stdout == ""
