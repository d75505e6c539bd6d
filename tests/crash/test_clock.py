"""A clock that jumps: what the log writes down as its own time never runs backwards, and nothing else minds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opssentinal.ledger import append
from opssentinal.ledger.reader import bundles_after
from opssentinal.ledger.recording import recording
from opssentinal.ledger.sequencer import Sequencer
from tests.ledger.conftest import ledger, make_event, reset_head, uuid  # noqa: F401 - a fixture

_DAY_US = 86_400_000_000


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
