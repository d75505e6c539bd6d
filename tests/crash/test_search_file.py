"""The search file is lost, cut or foreign: it is built again, and meanwhile the log is served from the ledger's head."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from tests.crash import injection
from tests.crash.conftest import Subject
from tests.server import ServerProcess
from tests.visitor import Visitor

# More than the feed catches up with unnoticed: from 50,000 events on the index counts as being built again.
EVENTS = int(os.environ.get("SEARCH_EVENTS", "60000"))
# So many take a second, and are made to take two, so that somebody who looks all the time cannot miss it.
_DELAY_MS = 15
_REBUILDING = "Search is being built again"
_ADMIN, _PASSWORD = "admin@example.com", "search is only a copy"
_PATIENCE_S = 90


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
    """Put the file of another version in its place, as whoever restores a backup does."""
    other = path.with_name("other")
    shutil.copyfile(path, other)
    if (log := path.with_name(path.name + ".wal")).exists():
        shutil.copyfile(log, other.with_name(other.name + ".wal"))
    with duckdb.connect(str(other)) as connection:
        connection.execute("UPDATE meta SET layout = 'of tomorrow'")
    other.replace(path)


class Slow(NamedTuple):
    """A server that takes its time to write the search file, and a key for it."""

    subject: Subject
    under: tuple[str, ...]

    @property
    def server(self) -> ServerProcess:
        return self.subject.server

    def start(self) -> None:
        """Start it, slow as before."""
        self.server.start(*self.under)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    """One with enough events that building search again takes its time, and an account to look with."""
    server = ServerProcess(tmp_path_factory.mktemp("crash") / "data")
    file = server.data_dir / "search.duckdb"
    under = injection.slowly("write,pwrite64", _DELAY_MS, file, file.with_name("search.duckdb.wal"))
    server.start(*under)
    try:
        slow = Slow(Subject(server), under)
        events = [{"action": "search.lost", "actor": {"type": "test", "id": str(n)}} for n in range(1000)]
        for _ in range(EVENTS // len(events)):
            _send(slow, events)
        server.command(
            "createuser", _ADMIN, "--role", "admin", "--name", "Ada", "--password-stdin", stdin=_PASSWORD + "\n"
        )
        yield slow
    finally:
        server.stop()


@pytest.fixture
def visitor(slow: Slow) -> Visitor:
    """The admin, signed in; the session outlives the server."""
    visitor = Visitor(slow.server.url)
    assert visitor.sign_in(_ADMIN, _PASSWORD)[0] == 200
    return visitor


# What somebody does to the file, and whether a server that runs must notice at once: the engine has open what was cut or written
# over, reads little of it again and checks what it reads.
@pytest.mark.parametrize(
    ("harm", "at_once"),
    [
        (_delete, True),
        (_empty, True),
        (_other_layout, True),
        (_halve, False),
        (_scribble, False),
        (_other_engine, False),
    ],
)
def test_the_file_is_harmed(slow: Slow, visitor: Visitor, harm: Callable[[Path], None], at_once: bool) -> None:
    """While the server runs and while it is down: pages tell of it and show the newest events, and then all is as before.

    What is not noticed while it runs is met by the next start, after a crash; the others are harmed once more before it.
    """
    server, path = slow.server, slow.server.data_dir / "search.duckdb"
    server.wait_for_search()
    harm(path)
    banners = _until_whole(slow, visitor)
    assert not banners or not slow.under or _REBUILDING in banners
    _check(slow)
    if banners:
        server.stop()
        harm(path)
    else:
        assert not at_once or not slow.under, "search was built again without a word"
        for child in server.children():
            os.kill(child, signal.SIGKILL)
        server.kill()
    slow.start()
    # What no page has read is noticed by whoever reads it.
    is_told = _REBUILDING in _until_whole(slow, visitor)
    assert is_told or harm is _scribble or not slow.under, "search was built again without a word"
    _check(slow)
    _check_rows(slow)
    assert path.stat().st_size > 0


def _send(slow: Slow, events: list[dict[str, object]]) -> None:
    headers = {"Authorization": f"Bearer {slow.subject.key}", "Content-Type": "application/json"}
    assert slow.server.request("POST", "/api/v1/events", json.dumps(events).encode(), headers)[0] == 201


def _until_whole(slow: Slow, visitor: Visitor) -> list[str]:
    """Look at the log until search has everything. Each look shows what was recorded just before it, with a banner while search
    lacks some, and what the API counts is right or not told.

    Returns the banners seen.
    """
    banners: list[str] = []
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        name = f"Looker {os.urandom(6).hex()}"
        _send(slow, [{"action": "search.looked", "actor": {"type": "test", "id": "1", "name": name}}])
        status, page = visitor.get("/insights/audit-logs/?range=all")
        assert status == 200
        assert name in page, "not from the ledger's head"
        _check_facets(slow, may_be_away=True)
        ready = json.loads(slow.server.get("/readyz")[1])
        assert ready["ready"], "recording does not depend on search"
        if "straight from the ledger" in page:
            banners.append(_REBUILDING if "being built again" in page else "Search is away")
        elif ready["search"].get("position") == ready["ledger"]["size"] and not ready["search"]["rebuilding"]:
            return banners
        assert time.monotonic() < deadline, ready
        time.sleep(0.05)


def _check(slow: Slow) -> None:
    """Search counts what the ledger holds, once it says that it has everything."""
    _check_facets(slow, may_be_away=False)


def _check_rows(slow: Slow) -> None:
    """Every event is in a file of all of them, whole. An export that meets what is damaged says so, and the next one does not."""
    made = slow.subject.export("search.lost")
    if made["status"] == "failed":
        slow.server.wait_for_search()
        made = slow.subject.export("search.lost")
    assert made["status"] == "ready", made
    assert made["rows"] == EVENTS
    file = f"/api/v1/exports/{made['id']}/file"
    content = slow.server.get(file, {"Authorization": f"Bearer {slow.subject.key}"})[1].decode()
    lines = list(csv.DictReader(io.StringIO(content, newline="")))
    assert len({line["seq"] for line in lines}) == len({uuid.UUID(line["id"]) for line in lines}) == EVENTS


def _check_facets(slow: Slow, *, may_be_away: bool) -> None:
    """The counts are those of the ledger, as a whole and by a value that is in every thousandth event, or it says 503."""
    status, body = slow.server.get(
        "/api/v1/events/facets?field=action&field=actor&action=search.lost",
        {"Authorization": f"Bearer {slow.subject.key}"},
    )
    if status == 503 and may_be_away:
        return
    assert status == 200, body
    facets = json.loads(body)["data"]
    assert {found["value"]: found["count"] for found in facets["action"]}["search.lost"] == EVENTS
    assert [found["count"] for found in facets["actor"]] == [EVENTS // 1000] * 10
