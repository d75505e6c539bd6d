"""The search file is exchanged for a new one, and the rename fails or is where the process dies: one of the two is in use, whole."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from tests.crash import injection
from tests.crash.conftest import Subject
from tests.server import ServerProcess

_RENAMES = "rename,renameat,renameat2"
_EVENTS = 3_000
_PATIENCE_S = 60


@pytest.fixture(scope="module")
def filled(subject: Subject) -> Subject:
    """A server with some events, all of them in search."""
    injection.require()
    for _ in range(_EVENTS // 1_000):
        _send(subject, "exchange.before", 1_000)
    subject.server.wait_for_search()
    return subject


def _send(subject: Subject, action: str, count: int) -> None:
    """Record events, at once."""
    events = [{"action": action, "actor": {"type": "test", "id": str(n % 7)}} for n in range(count)]
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
    status, body = subject.server.request("POST", "/api/v1/events", json.dumps(events).encode(), headers)
    assert status == 201
    subject.acknowledged.add(json.loads(body)["results"])


def _found(subject: Subject, action: str) -> int:
    """How many events of an action search counts."""
    facets = subject.server.api(f"/api/v1/events/facets?field=action&action={action}", subject.key)["data"]
    return {found["value"]: found["count"] for found in facets["action"]}.get(action, 0)


def _files(server: ServerProcess) -> list[str]:
    """The files of search, but for what the engine keeps beside the one in use."""
    return sorted(
        path.name
        for path in server.data_dir.iterdir()
        if path.name.startswith("search.duckdb") and path.suffix not in (".wal", ".tmp")
    )


def _said_in_log(server: ServerProcess, from_: int) -> str:
    return Path(server.log).read_bytes()[from_:].decode()


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_the_rename_fails(filled: Subject, error: str) -> None:
    """The new file is not used and gone, who asked for it hears so, the old one answers, and the next time it works."""
    server, back = filled.server, filled.server.back()
    assert back is not None
    begin = server.log.stat().st_size
    with injection.failing(back, _RENAMES, error, "1+", follow=True) as failed:
        told = server.command("reindex", check=False)
        assert failed() == 1
        _send(filled, f"exchange.{error.lower()}", 100)
        assert _found(filled, f"exchange.{error.lower()}") == 100, "the old file is in use again, and goes on"
        assert _found(filled, "exchange.before") == _EVENTS
        server.wait_for_search()
    assert told.returncode == 69
    assert "The new index could not be put in place." in told.stderr
    assert "Traceback" not in told.stderr
    said = {"EIO": "Input/output error", "ENOSPC": "No space left on device"}[error]
    assert re.search(rf"WARNING.*Search cannot be fed: .*{said}", _said_in_log(server, begin))
    assert server.back() == back, "it did not even have to start again"
    assert _files(server) == ["search.duckdb"]
    filled.check()
    _check_that_it_can_be_exchanged(server)
    filled.check()


def test_it_dies_at_the_rename(filled: Subject) -> None:
    """After the old file was closed, and before the new one has its name: the next start goes on with the old one."""
    server, back = filled.server, filled.server.back()
    assert back is not None
    with injection.injecting(back, _RENAMES, "signal=KILL", "1", follow=True):
        assert server.command("reindex", check=False).returncode != 0
        _send(filled, "exchange.died", 100)
    _wait_for_another(server, back)
    server.wait_for_search()
    assert (_found(filled, "exchange.died"), _found(filled, "exchange.before")) == (100, _EVENTS)
    assert _files(server) == ["search.duckdb"], "what was not used is removed"
    filled.check()
    _check_that_it_can_be_exchanged(server)
    filled.check()


def _wait_for_another(server: ServerProcess, before: int) -> None:
    """Return when the back was started again."""
    deadline = time.monotonic() + _PATIENCE_S
    while server.back() in (None, before):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _check_that_it_can_be_exchanged(server: ServerProcess) -> None:
    """Without a fault the file under the name is another one afterwards."""
    path = server.data_dir / "search.duckdb"
    before = path.stat().st_ino
    server.command("reindex")
    assert path.stat().st_ino != before
    assert _files(server) == ["search.duckdb"]
    server.wait_for_search()
