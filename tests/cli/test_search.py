"""search and reindex beside a real back process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opssentinal import config
from opssentinal.errors import Unavailable
from opssentinal.search.client import SearchClient
from tests.cli.conftest import Cli, environment

SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "cloudtrail-sample.json"


@pytest.fixture
def searched(cli: Cli, data_dir: Path) -> Iterator[Cli]:
    """A log with the sample in it, and search running."""
    assert cli("import", "cloudtrail", str(SAMPLE)).returncode == 0
    client = SearchClient(config.load({"OPSSENTINAL_DATA_DIR": str(data_dir)}).search_socket)
    back = subprocess.Popen([sys.executable, "-m", "opssentinal.back"], env=environment(data_dir))
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                client.status()
                break
            except Unavailable:
                with pytest.raises(subprocess.TimeoutExpired):  # it is still alive
                    back.wait(timeout=0.05)
        yield cli
    finally:
        back.terminate()
        back.wait(timeout=60)


def _rows(cli: Cli, *args: str) -> list[list[str]]:
    done = cli("search", *args)
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_search_and_reindex(searched: Cli) -> None:
    """What a query means on the page it means here: terms, exclusions, options, ranges, order, limit; also after reindex."""
    newest_first = _rows(searched, "actor:mallory")
    assert [row[2] for row in newest_first] == [
        "rds.modify_db_snapshot_attribute", "rds.create_db_snapshot", "ec2.run_instances",
        "ec2.authorize_security_group_ingress", "cloudtrail.stop_logging",
    ]  # fmt: skip
    assert _rows(searched, "--actor", "mallory", "--oldest") == newest_first[::-1]
    assert {row[3] for row in _rows(searched, "-outcome:success")} == {"failure", "denied"}
    assert {row[2] for row in _rows(searched, "action:login.*", "--outcome", "failure")} == {"login.failure"}
    assert len(_rows(searched, "--from", "2026-09-14", "--to", "2026-09-14")) == 36
    assert _rows(searched, "--to", "2026-09-13") == []

    limited = searched("search", "--limit", "3", "--json")
    assert len([json.loads(line) for line in limited.stdout.splitlines()]) == 3
    assert "first 3 are shown" in limited.stderr

    done = searched("reindex")
    assert done.returncode == 0
    assert re.fullmatch(
        r"The search index holds (38|39) events\.\n", done.stdout
    )  # one look, or two around the tenth minute
    assert _rows(searched, "actor:mallory") == newest_first
    assert json.loads(searched("reindex", "--json").stdout)["rows"] >= 39
    (event, *_) = [
        json.loads(line) for line in searched("search", "action:search.reindexed", "--json").stdout.splitlines()
    ]
    assert (event["outcome"], event["actor"]["type"]) == ("success", "os_user")
    views = searched("search", "action:audit_log.viewed", "--json").stdout
    assert "mallory" not in views
    assert json.loads(views.splitlines()[0])["metadata"] == {"view": "search"}


def test_an_import_beside_the_server_is_found_at_once(searched: Cli) -> None:
    """Events that another process has just imported are in the next answer."""
    assert searched("import", "cloudtrail", str(SAMPLE), "--source", "again").returncode == 0
    assert len(_rows(searched, "source:again")) == 36
    found = json.loads(searched("check", "--json").stdout)
    (about_search,) = [each for each in found["checks"] if each["subject"] == "search"]
    assert about_search["state"] == "ok"
    assert re.fullmatch("7[5-6] events, up to the log's head", about_search["detail"])  # looking is recorded too
