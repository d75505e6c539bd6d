"""`opssentinal import` as a person runs it: what it prints, how it ends, and two of them at once."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, command, environment

SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "cloudtrail-sample.json"


def _lines(count: int, source: str) -> str:
    event = {"action": "invoice.paid", "actor": {"type": "service", "id": "b"}, "source": source}
    return "".join(json.dumps(event | {"metadata": {"number": number}}) + "\n" for number in range(count))


def test_the_tour(cli: Cli) -> None:
    """The sample comes in whole, again it adds nothing, and both runs end with 0."""
    first, again = cli("import", "cloudtrail", str(SAMPLE)), cli("import", "cloudtrail", str(SAMPLE))
    assert (first.returncode, first.stdout, first.stderr) == (0, "1 file: 36 imported.\n", "")
    assert (again.returncode, again.stdout) == (0, "1 file: 0 imported, 36 already there.\n")


def test_folders_of_gzipped_files(cli: Cli, tmp_path: Path) -> None:
    """A folder as AWS keeps it is read with everything below it."""
    for number, name in enumerate(("eu/a.json.gz", "us/b.json.gz")):
        path = tmp_path / "AWSLogs" / name
        path.parent.mkdir(parents=True)
        text = SAMPLE.read_text().replace('"eventID":"', f'"eventID":"x{number}')
        path.write_bytes(gzip.compress(text.encode()))
    done = cli("import", "cloudtrail", str(tmp_path / "AWSLogs"), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "files": 2, "accepted": 72, "duplicates": 0, "conflicts": 0, "rejected": 0, "dry_run": False, "reasons": [],
    }  # fmt: skip


def test_a_bad_line_is_told_and_the_exit_status_says_so(cli: Cli, tmp_path: Path) -> None:
    """The place and the reason are on standard error, the good lines are in, the status is 1."""
    path = tmp_path / "in.ndjson"
    path.write_text(_lines(2, "billing") + '{"action": "no"}\n\x1b[31moops\n' + _lines(1, "billing"))
    done = cli("import", "ndjson", str(path))
    assert done.returncode == 1
    assert done.stdout == "1 file: 3 imported, 2 rejected.\n"
    assert f"{path}:3: " in done.stderr
    assert f"{path}:4: " in done.stderr
    assert "\x1b" not in done.stderr


def test_from_a_pipe(cli: Cli) -> None:
    """`-` reads standard input, and --source names where it came from."""
    done = cli("import", "ndjson", "-", "--source", "legacy", input=_lines(3, "billing"))
    assert (done.returncode, done.stdout) == (0, "1 file: 3 imported.\n")
    assert {json.loads(line)["source"] for line in cli("tail", "--json").stdout.splitlines()} == {
        "legacy",
        "opssentinal",
    }


def test_dry_run(cli: Cli) -> None:
    """--dry-run says what would happen and leaves the log empty."""
    done = cli("import", "cloudtrail", str(SAMPLE), "--dry-run")
    assert done.stdout == "1 file: 36 would be imported.\n"
    assert cli("tail").stdout == ""


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["cloudtrail", "/nowhere/at/all.json"], 3),
        (["cloudtrail", str(SAMPLE), "--source", "Not A Source"], 2),
        (["syslog", str(SAMPLE)], 2),
    ],
)
def test_what_cannot_be_meant_ends_at_once(cli: Cli, args: list[str], status: int) -> None:
    """A missing file, a source that is none and a format that is none each end with their own status."""
    done = cli("import", *args)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_two_imports_at_once(cli: Cli, data_dir: Path, tmp_path: Path) -> None:
    """Two processes that write at the same time both finish, with every event in the log and the log whole."""
    running = []
    for source in ("one", "two"):
        path = tmp_path / f"{source}.ndjson"
        path.write_text(_lines(6000, source))
        running.append(
            subprocess.Popen(
                command("import", "ndjson", str(path)),
                env=environment(data_dir),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in running:
        out, errors = process.communicate(timeout=120)
        assert (process.returncode, out, errors) == (0, "1 file: 6,000 imported.\n", "")
    report = json.loads(cli("fsck", "--json").stdout)
    assert (report["size"], report["is_clean"]) == (12_002, True)
