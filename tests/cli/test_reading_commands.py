"""tail, search, fsck and check: what they show, and to whom."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pysqlite3
import pytest

from tests.cli.conftest import Cli, command, environment

SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "cloudtrail-sample.json"
EVIL = "Ev\x1b[2Jil\u202e\x9b31m\tBob"


@pytest.fixture
def sample(cli: Cli) -> Cli:
    """A log with the sample in it."""
    assert cli("import", "cloudtrail", str(SAMPLE)).returncode == 0
    return cli


def _evil(cli: Cli) -> None:
    event = {"action": "user.created", "actor": {"type": "user", "id": "1", "name": EVIL}, "message": "a\nb"}
    assert cli("import", "ndjson", "-", input=json.dumps(event)).returncode == 0


def _on_terminal(data_dir: Path, *args: str, **env: str) -> str:
    """What a command prints on a terminal 120 characters wide."""
    ours, theirs = pty.openpty()
    env = environment(data_dir) | {"TERM": "xterm", "COLUMNS": "120"} | env
    process = subprocess.Popen(command(*args), env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            portion = os.read(ours, 65_536)
        except OSError:  # Linux's way of saying that the other side has closed
            break
        if not portion:
            break
        shown += portion
    os.close(ours)
    process.wait(timeout=60)
    return shown.decode()


def test_tail_shows_the_newest_last(sample: Cli) -> None:
    """The last line is the newest event, and -n says how many there are."""
    lines = sample("tail", "-n", "3").stdout.splitlines()
    assert [line.split("\t")[2] for line in lines] == [
        "login.success", "iam.update_account_password_policy", "events.imported",
    ]  # fmt: skip


def test_tail_shows_what_a_query_means(sample: Cli) -> None:
    """The newest of those events, in the order of the log, and nothing where there are none; a mistake is said."""
    every = [json.loads(line) for line in sample("tail", "-n", "1000", "--json").stdout.splitlines()]
    denied = [event["id"] for event in every if event["outcome"] == "denied"]
    assert 0 < len(denied) < len(every)
    asked = sample("tail", "outcome:denied", "-n", "1000", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in asked] == denied
    (line,) = sample("tail", "--outcome", "denied", "-n", "1", "--json").stdout.splitlines()
    assert json.loads(line)["id"] == denied[-1]
    assert sample("tail", "actor:nobody-at-all").stdout == ""
    assert sample("tail", "nonsense:1").returncode == 2


def test_tail_json_is_the_event(sample: Cli) -> None:
    """--json prints whole events, one per line."""
    (line,) = sample("tail", "-n", "1", "--json").stdout.splitlines()
    event = json.loads(line)
    assert (event["seq"], event["action"], event["metadata"]["accepted"]) == (36, "events.imported", 36)


def test_tail_follows(sample: Cli, data_dir: Path) -> None:
    """-f goes on with what another process records, each event once and in order."""
    with subprocess.Popen(
        command("tail", "-n", "1", "-f", "--json"), env=environment(data_dir), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seqs = [json.loads(process.stdout.readline())["seq"]]
        assert sample("import", "cloudtrail", str(SAMPLE), "--source", "again").returncode == 0
        seqs += [json.loads(process.stdout.readline())["seq"] for _ in range(37)]
        process.terminate()
    assert seqs == list(range(36, 74))  # of these 37 is the record of this look


def test_nothing_in_an_event_reaches_a_terminal(cli: Cli, data_dir: Path) -> None:
    """Escape sequences, C1 controls, direction marks and tabs in a name are spelled out, in every form of output."""
    _evil(cli)
    for args in (["tail"], ["tail", "--json"]):
        for shown in (cli(*args).stdout, _on_terminal(data_dir, *args, NO_COLOR="1")):
            assert "\x1b[2J" not in shown
            assert not re.search("[\x80-\x9f\u202e]", shown)
            assert "Bob" in shown
    assert json.loads(cli("tail", "--json").stdout.splitlines()[0])["actor"]["name"] == EVIL
    assert len(cli("tail").stdout.splitlines()[0].split("\t")) == 8


def test_colour_is_for_terminals_that_want_it(sample: Cli, data_dir: Path) -> None:
    """Colour on a terminal, none in a pipe, none with NO_COLOR; the outcome is readable without."""
    assert "\x1b[31m✗" in _on_terminal(data_dir, "tail", "-n", "40")
    assert "\x1b[3" not in _on_terminal(data_dir, "tail", "-n", "40", NO_COLOR="1")
    assert "✗ bob failed to sign in" in _on_terminal(data_dir, "tail", "-n", "40", NO_COLOR="1")
    assert "\x1b" not in sample("tail", "-n", "40").stdout


def test_progress_is_for_terminals(cli: Cli, data_dir: Path) -> None:
    """An import shows its progress on a terminal only, where the summary still stands at the end."""
    assert "Importing" in _on_terminal(data_dir, "import", "cloudtrail", str(SAMPLE))
    done = cli("import", "cloudtrail", str(SAMPLE), "--source", "again")
    assert (done.stdout, done.stderr) == ("1 file: 36 imported.\n", "")


def test_times_are_shown_in_the_zone_asked_for(sample: Cli, data_dir: Path) -> None:
    """--tz moves what a person reads; a pipe always gets UTC."""
    assert "2026-09-14 12:04:55" in _on_terminal(data_dir, "tail", "--tz", "Europe/Berlin")
    assert "2026-09-14T10:04:55Z" in sample("tail", "--tz", "Europe/Berlin").stdout
    assert sample("tail", "--tz", "Mars/Olympus").returncode == 2


def test_search_without_a_server_says_so(sample: Cli) -> None:
    """Search is the server's; without one the command ends with 69 and says what to do."""
    done = sample("search", "-outcome:success")
    assert done.returncode == 69
    assert done.stdout == ""
    assert "opssentinal serve" in done.stderr


def test_a_query_that_cannot_be_read_is_told_before_anything_is_asked(sample: Cli) -> None:
    """A mistyped key ends with 2 and a hint, server or not."""
    done = sample("search", "autor:alice")
    assert done.returncode == 2
    assert "actor" in done.stderr


def test_fsck_of_a_whole_log(sample: Cli) -> None:
    """A log that is whole ends with 0 and shows its root."""
    done = sample("fsck")
    assert done.returncode == 0
    assert "37 entries" in done.stdout
    assert re.search(r"Root hash [0-9a-f]{64}\n", done.stdout)


def test_fsck_of_a_log_that_was_changed(sample: Cli, data_dir: Path) -> None:
    """A log whose rows somebody changed ends with 70 and says what does not agree."""
    database = pysqlite3.connect(data_dir / "opssentinal.sqlite3")
    database.execute(
        "UPDATE ledger_bundle SET recorded_to_us = recorded_to_us - 1, whos = (SELECT whats FROM ledger_bundle)"
    )
    database.commit()
    database.close()
    done = sample("fsck")
    assert done.returncode == 70
    assert "problem" in done.stdout
    report = sample("fsck", "--json")
    assert report.returncode == 70
    assert json.loads(report.stdout)["problems"]


def test_check_of_a_log_that_can_be_used(sample: Cli, data_dir: Path) -> None:
    """Everything is ok but search, whose server does not run, which is no failure."""
    done = sample("check", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert {each["subject"]: each["state"] for each in found["checks"]} == {
        "data directory": "ok", "database": "ok", "search": "note",
    }  # fmt: skip
    assert found["settings"]["OPSSENTINAL_DATA_DIR"] == str(data_dir)
    assert "37 entries" in sample("check").stdout


def test_check_never_shows_a_secret(sample: Cli) -> None:
    """A secret is shown as set, not as what it is."""
    secret = "s" * 40
    done = sample("check", env={"OPSSENTINAL_SECRET_KEY": secret})
    assert secret not in done.stdout + done.stderr
    assert "(set)" in done.stdout


def test_check_of_a_database_that_does_not_answer(cli: Cli) -> None:
    """A database that cannot be reached is a failure with status 1."""
    done = cli("check", env={"OPSSENTINAL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"})
    assert done.returncode == 1
    assert "failed" in done.stdout
    assert "Traceback" not in done.stderr
