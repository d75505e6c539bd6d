"""A full disk: nothing is recorded and everybody is told so, the log can be read, and with room again all goes on by itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.conftest import Subject
from tests.server import ServerProcess
from tests.visitor import Visitor

# Room for what a test records and its index, and little more: what fills the disk is a file that can be taken away.
_SIZE = "96m"
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


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """Callers get 503 and why, pages and the API go on reading under a banner, and room brings everything back."""
    server = ServerProcess(small_disk / "data")
    server.log = tmp_path / "server.log"
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
        headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
        status, body = server.request("POST", "/api/v1/exports", b'{"format": "csv"}', headers)
        assert (status, json.loads(body)["code"]) == (503, "disk_full")
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


def test_a_full_disk_under_load_and_over_a_crash(small_disk: Path, tmp_path: Path) -> None:
    """It fills while clients send, the server is killed and cannot start without room, or starts; with room all goes on by itself."""
    server = ServerProcess(small_disk / "data")
    server.log = tmp_path / "server.log"
    with server:
        subject = Subject(server)
        with subject.load(3):
            for _ in range(2):
                _until(lambda: len(subject.acknowledged.seqs) > 100)
                _fill(small_disk / "filler")
                _until(lambda: server.get("/readyz")[0] == 503)
                acknowledged = _until_nothing_is_acknowledged(subject)
                (small_disk / "filler").unlink()
                _until(lambda: server.get("/readyz")[0] == 200)
                _until(lambda full=acknowledged: len(subject.acknowledged.seqs) > full)
        _fill(small_disk / "filler")
        _send_until_refused(subject)
        server.kill()
        said = server.log.stat().st_size
        if not _starts_without_room(server):
            assert re.search(r"(is full|No space left|cannot be used)", server.log.read_bytes()[said:].decode())
        server.kill()
        (small_disk / "filler").unlink()
        server.start()
        assert _send(subject, "after")[0] == 201
        subject.check()


def _starts_without_room(server: ServerProcess) -> bool:
    """Whether it answers, though it is not ready; False where it ends by itself. Neither is waited for without end."""
    try:
        server.start(ready=503)
    except AssertionError:
        return False
    return True


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _until_nothing_is_acknowledged(subject: Subject) -> int:
    """How many events are, when what the database had reserved is used up; small batches go on for a moment after large ones."""
    acknowledged: list[int] = []

    def is_still() -> bool:
        acknowledged.append(len(subject.acknowledged.seqs))
        return acknowledged[-10:] == acknowledged[-1:] * 10

    _until(is_still)
    return acknowledged[-1]


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
