"""A clock that jumps: what the log writes down as its own time never runs backwards, and nothing else minds but retention."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opssentinal.ledger import append
from opssentinal.ledger.reader import bundles_after
from opssentinal.ledger.recording import recording
from opssentinal.ledger.sequencer import Sequencer
from tests.crash.conftest import Subject
from tests.crash.wall_clock import WallClock
from tests.ledger.conftest import ledger, make_event, reset_head, uuid  # noqa: F401 - a fixture
from tests.server import REPOSITORY, ServerProcess
from tests.visitor import Visitor

_DAY_US = 86_400_000_000
# Where the clock stands, one after the other, compared with the true time.
_JUMPS = [
    timedelta(**{unit: sign * number})
    for unit, number in (("seconds", 3), ("hours", 1), ("days", 1), ("days", 40), ("days", 400))
    for sign in (1, -1)
]
_TIMES = ("recorded_at", "occurred_at")
_TASKS = ("compaction", "retention", "approvals", "cleanup")
_LEAP = timedelta(days=400)
_ADMIN, _PASSWORD = "admin@example.com", "a clock that is wrong is bad"


class Clock:
    """Stands in for the module `time` where recorded_at is read; jumps by hand."""

    def __init__(self) -> None:
        self.offset_us = 0

    def time_ns(self) -> int:
        """The wall clock, as far off as it was set."""
        return time.time_ns() + self.offset_us * 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The clock of append()."""
    clock = Clock()
    monkeypatch.setattr(append, "time", clock)
    yield clock


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(jumps=st.lists(st.integers(-400 * _DAY_US, 400 * _DAY_US), min_size=1, max_size=8))
def test_jumps_between_commits(ledger: Callable[[], None], clock: Clock, jumps: list[int]) -> None:  # noqa: F811
    """Commits of the sequencer and of pages while the clock jumps by up to a year: times never decrease, the log is sound."""
    reset_head()
    sequencer = Sequencer()
    sequencer.start()
    try:
        for number, jump in enumerate(jumps):
            clock.offset_us = jump
            sequencer.submit([make_event(number, id=uuid(number)), make_event(number)]).result(30)
            with recording() as record:
                record(make_event(1000 + number))
    finally:
        sequencer.stop()
    events = [event for bundle in bundles_after(0, 10**6) for event in bundle.events()]
    assert len(events) == 3 * len(jumps)
    times = [event.recorded_at for event in events]
    assert times == sorted(times)
    assert len({event.id for event in events}) == len(events)
    ledger()


def test_jumps_under_load(ledger: Callable[[], None], clock: Clock) -> None:  # noqa: F811
    """The clock jumps to and fro while threads submit: every receipt is in order of time as it is in order of place."""
    sequencer, stop = Sequencer(), threading.Event()

    def jump() -> None:
        while not stop.wait(0.005):
            clock.offset_us = -clock.offset_us or 3_600_000_000

    jumper = threading.Thread(target=jump)
    sequencer.start()
    jumper.start()
    try:
        submitted = [sequencer.submit([make_event(n), make_event(n)]) for n in range(300)]
        assert [receipt.seq for future in submitted for receipt in future.result(30)] == list(range(600))
    finally:
        stop.set()
        jumper.join()
        sequencer.stop()
    times = [event.recorded_at for bundle in bundles_after(0, 10**6) for event in bundle.events()]
    assert times == sorted(times)
    ledger()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[ServerProcess, WallClock]]:
    """A real server with an admin, and the clock of all of its processes."""
    clock = WallClock(tmp_path)
    with ServerProcess(tmp_path / "data", **clock.environment) as server:
        server.command(
            "createuser", _ADMIN, "--role", "admin", "--name", "Ada", "--password-stdin", stdin=_PASSWORD + "\n"
        )
        server.wait_for_search()
        yield server, clock


def test_a_real_server_under_load(server: tuple[ServerProcess, WallClock]) -> None:
    """Seconds to 400 days, back and forth: nothing acknowledged is lost or doubled, times never decrease, all else goes on."""
    process, clock = server
    subject, visitor = Subject(process), Visitor(process.url)
    assert visitor.sign_in(_ADMIN, _PASSWORD)[0] == 200
    process.run_tasks(*_TASKS)
    with subject.load(rest_s=0.2):
        for off in _JUMPS:
            clock.jump_to(off)
            _use(process, subject.key)
            process.run_tasks(*_TASKS)
        clock.jump_to(timedelta(0))
        _use(process, subject.key)
        process.run_tasks(*_TASKS)
    assert "Ada" in visitor.get("/profile/")[1], "signed out by a clock that was wrong for a moment"
    assert process.get("/readyz")[0] == 200
    log = process.log.read_text()
    assert [trouble for trouble in ("Traceback", "ERROR", "CRITICAL") if trouble in log] == [], log
    assert "Retention waits." in log
    assert "Retention goes on" in log
    events = subject.check()
    times = [str(events[seq]["recorded_at"]) for seq in range(len(events))]
    assert times == sorted(times)
    assert len({at[:10] for at in times}) > 3
    # What came last is pinned at the newest time seen, and found under its own day all the same.
    recorded_at, occurred_at = (datetime.fromisoformat(str(events[len(events) - 1][field])) for field in _TIMES)
    assert recorded_at - occurred_at > timedelta(days=399)
    assert len(subject.acknowledged.seqs) > 200
    assert subject.acknowledged.unavailable == []


def test_retention_of_a_real_server_asks(server: tuple[ServerProcess, WallClock]) -> None:
    """Asked after a clock that was 400 days behind; and by one that is as far ahead at the first look after an upgrade."""
    process, clock = server
    process.run_tasks(*_TASKS)
    clock.jump_to(-_LEAP)
    process.run_tasks(*_TASKS)
    assert not _waits(process)
    clock.jump_to(timedelta(0))
    process.run_tasks(*_TASKS)
    assert _waits(process)
    process.command("prune", "--clock-is-right")
    assert not _waits(process)
    _forget_looks(process)
    clock.jump_to(_LEAP)
    process.run_tasks(*_TASKS)
    assert _waits(process)
    assert process.command("prune", check=False).returncode == 69
    clock.jump_to(timedelta(0))
    process.run_tasks(*_TASKS)
    assert not _waits(process)


def _waits(server: ServerProcess) -> bool:
    """Whether the server says that retention waits for its clock."""
    return "retention" in json.loads(server.get("/readyz")[1])


def _forget_looks(server: ServerProcess) -> None:
    """Be as after the upgrade from a version that kept no look."""
    script = "import django; django.setup(); from opssentinal.retention.models import LastLook; LastLook.objects.all().delete()"
    environment = server.environment | {"DJANGO_SETTINGS_MODULE": "opssentinal.settings"}
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=REPOSITORY, check=True, timeout=60)


def _use(server: ServerProcess, key: str) -> None:
    """Sign in, and read the log on pages and through the API."""
    visitor = Visitor(server.url)
    assert visitor.sign_in(_ADMIN, _PASSWORD)[0] == 200
    for page in ("/insights/audit-logs/?range=all", "/settings/data-retention/", "/profile/"):
        status, text = visitor.get(page)
        assert status == 200, text
        assert "Ada" in text
    assert server.api("/api/v1/events?limit=10", key)["data"]
