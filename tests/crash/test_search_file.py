"""The search file is lost, cut or foreign: it is built again, and meanwhile the log is served from the ledger's head."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tests.crash.conftest import Subject
from tests.server import ServerProcess
from tests.visitor import Visitor

# More than the feed catches up with unnoticed: from 50,000 events on the index counts as being built again.
EVENTS = int(os.environ.get("SEARCH_EVENTS", "60000"))
# A few kinds of harm in the ordinary run; all of them with HARMS=all in the shell.
ALL = os.environ.get("HARMS") == "all"
_ADMIN, _PASSWORD = "admin@example.com", "search is only a copy"


def _delete(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"not what was here" * 20_000)


def _other_engine(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\0" * 8_192)


def _other_layout(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta SET layout = 'of tomorrow'")


@pytest.fixture(scope="module")
def filled(subject: Subject) -> Subject:
    """A server with enough events that building search again takes its time, and an account to look with."""
    events = [{"action": "search.lost", "actor": {"type": "test", "id": str(n)}} for n in range(1000)]
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
    body = json.dumps(events).encode()
    for _ in range(EVENTS // len(events)):
        assert subject.server.request("POST", "/api/v1/events", body, headers)[0] == 201
    subject.server.command(
        "createuser", _ADMIN, "--role", "admin", "--name", "Ada", "--password-stdin", stdin=_PASSWORD + "\n"
    )
    return subject


@pytest.fixture
def visitor(filled: Subject) -> Visitor:
    """The admin, signed in; the session outlives the server."""
    visitor = Visitor(filled.server.url)
    assert visitor.sign_in(_ADMIN, _PASSWORD)[0] == 200
    return visitor


@pytest.mark.parametrize("harm", [_halve, _other_layout, *([_delete, _empty, _other_engine] if ALL else [])])
def test_at_the_start(filled: Subject, visitor: Visitor, harm: Callable[[Path], None]) -> None:
    """Whatever became of the file while the server was down: pages tell of it and show the newest events, then all is as before."""
    server = filled.server
    server.wait_for_search()
    server.stop()
    harm(server.data_dir / "search.duckdb")
    server.start()
    banners = _until_whole(server, visitor)
    assert banners, "search was built again without a word"
    _check(filled)


@pytest.mark.parametrize("harm", [_delete, *([_empty, _halve, _scribble] if ALL else [])])
def test_while_the_server_runs(filled: Subject, visitor: Visitor, harm: Callable[[Path], None]) -> None:
    """The file is harmed under the running server: nothing wrong is ever answered, and also after a crash all is whole."""
    server = filled.server
    server.wait_for_search()
    harm(server.data_dir / "search.duckdb")
    _until_whole(server, visitor)
    _check(filled)
    for child in server.children():
        os.kill(child, signal.SIGKILL)
    _until_whole(server, visitor)
    _check(filled)
    assert (server.data_dir / "search.duckdb").stat().st_size > 0


def _until_whole(server: ServerProcess, visitor: Visitor) -> list[str]:
    """Look at the log until search has everything; each look shows events, with a banner while search lacks some.

    Returns the banners seen.
    """
    banners = []
    deadline = time.monotonic() + 60
    while True:
        status, page = visitor.get("/insights/audit-logs/?range=all")
        assert status == 200
        assert "search.lost" in page
        ready = json.loads(server.get("/readyz")[1])
        assert ready["ready"], "recording does not depend on search"
        if "straight from the ledger" in page:
            banners.append("Search is being built again" if "being built again" in page else "Search is away")
        elif ready["search"].get("position") == ready["ledger"]["size"] and not ready["search"]["rebuilding"]:
            return banners
        assert time.monotonic() < deadline, ready
        time.sleep(0.05)


def _check(subject: Subject) -> None:
    """Search counts what the ledger holds, once it says that it has everything, as a whole and by a value that is in every thousandth of them."""
    facets = subject.server.api("/api/v1/events/facets?field=action&field=actor&action=search.lost", subject.key)[
        "data"
    ]
    assert {found["value"]: found["count"] for found in facets["action"]}["search.lost"] == EVENTS
    assert [found["count"] for found in facets["actor"]] == [EVENTS // 1000] * 10
