"""A full disk: nothing is recorded and everybody is told so, the log can be read, and with room again all goes on by itself."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.conftest import Subject
from tests.server import ServerProcess
from tests.visitor import Visitor

_SIZE = "24m"
_ADMIN, _PASSWORD = "admin@example.com", "a full disk is a bad day"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    if os.getuid() != 0:
        pytest.skip("mounting a file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "none", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    """Callers get 503 and why, pages and the API go on reading under a banner, and room brings everything back."""
    server = ServerProcess(small_disk / "data")
    with server:
        server.command(
            "createuser", _ADMIN, "--role", "admin", "--name", "Ada", "--password-stdin", stdin=_PASSWORD + "\n"
        )
        subject, visitor = Subject(server), Visitor(server.url)
        assert visitor.sign_in(_ADMIN, _PASSWORD)[0] == 200
        assert _send(subject, "before")[0] == 201
        server.wait_for_search()
        _fill(small_disk / "filler")
        status, answer = _send_until_refused(subject)
        assert (status, answer["code"]) == (503, "disk_full")
        assert "The disk is full: nothing can be recorded" in answer["detail"]

        status, body = server.get("/readyz")
        assert (status, json.loads(body)["ledger"]["reason"]) == (503, "The disk is full: nothing can be recorded.")
        assert server.get("/healthz")[0] == 200
        for address in ("/api/v1/events?action=disk.filled", "/api/v1/events/1", "/api/v1/events/facets?field=action"):
            assert server.get(address, {"Authorization": f"Bearer {subject.key}"})[0] == 200, address
        for address in ("/insights/audit-logs/", "/insights/audit-logs/1/"):
            status, page = visitor.get(address)
            assert status == 200
            assert "The disk is full: nothing can be recorded." in page
        assert "disk.filled" in visitor.get("/insights/audit-logs/")[1]
        # What would change something is refused with the reason, and not with a fault of ours.
        status, page = Visitor(server.url).sign_in(_ADMIN, _PASSWORD)
        assert status == 503
        assert "disk is full" in page

        (small_disk / "filler").unlink()
        deadline = time.monotonic() + 30
        while server.get("/readyz")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert _send(subject, "after")[0] == 201
        assert "The disk is full" not in visitor.get("/insights/audit-logs/")[1]
        subject.check()


def _send(subject: Subject, name: str, count: int = 1) -> tuple[int, dict[str, str]]:
    """Send events; what is acknowledged is kept."""
    events = [{"action": "disk.filled", "actor": {"type": "test", "id": os.urandom(40).hex()}} for _ in range(count)]
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json", "X-Request-Id": name}
    status, body = subject.server.request("POST", "/api/v1/events", json.dumps(events).encode(), headers)
    answer = json.loads(body)
    if status == 201:
        subject.acknowledged.add(answer["results"])
    return status, answer


def _send_until_refused(subject: Subject) -> tuple[int, dict[str, str]]:
    """Send until what the database had reserved is used up too."""
    for _ in range(500):
        status, answer = _send(subject, "filling", 200)
        if status != 201:
            return status, answer
    raise AssertionError("the disk does not fill")


def _fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 65_536):
                continue
        except OSError:
            return
