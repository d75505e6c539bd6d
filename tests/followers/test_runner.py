"""The runner: tasks run when due or poked, one at a time, and their errors are seen and survived."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from opssentinal.errors import NotFound
from opssentinal.followers.backoff import Backoff
from opssentinal.followers.runner import Runner, Task

LONG_S = 3600.0
PATIENCE_S = 10.0


@contextmanager
def running(*tasks: Task) -> Iterator[Runner]:
    """A runner at work."""
    runner = Runner(tasks)
    runner.start()
    try:
        yield runner
    finally:
        runner.stop()


def test_runs_at_first_and_when_poked() -> None:
    """A task runs after `first_s`, and again at each poke, though its time is far off."""
    ran = threading.Semaphore(0)
    with running(Task("work", LONG_S, lambda _: ran.release())) as runner:
        assert ran.acquire(timeout=PATIENCE_S)
        runner.poke("work")
        assert ran.acquire(timeout=PATIENCE_S)


def test_runs_every_so_often() -> None:
    """A task that is due often runs again and again."""
    ran = threading.Semaphore(0)
    with running(Task("work", 0.01, lambda _: ran.release())):
        for _ in range(5):
            assert ran.acquire(timeout=PATIENCE_S)


def test_one_at_a_time_and_no_poke_is_lost() -> None:
    """Pokes during a run lead to exactly one more run, after it."""
    inside, go, ran = threading.Semaphore(0), threading.Semaphore(0), []

    def work(_: threading.Event) -> None:
        inside.release()
        assert go.acquire(timeout=PATIENCE_S)
        ran.append(1)

    with running(Task("work", LONG_S, work)) as runner:
        assert inside.acquire(timeout=PATIENCE_S)
        for _ in range(3):
            runner.poke("work")
        assert not inside.acquire(blocking=False)
        go.release()
        assert inside.acquire(timeout=PATIENCE_S)
        go.release()
        assert not inside.acquire(timeout=0.1)
    assert len(ran) == 2


def test_errors_are_shown_and_tried_again() -> None:
    """A failing task is in the status with its error, does not stop the others, and is tried again."""
    tried, other = threading.Semaphore(0), threading.Semaphore(0)

    def fail(_: threading.Event) -> None:
        tried.release()
        raise RuntimeError("no luck")

    with running(Task("bad", 0.02, fail), Task("good", 0.02, lambda _: other.release())) as runner:
        for _ in range(3):
            assert tried.acquire(timeout=PATIENCE_S)
        assert other.acquire(timeout=PATIENCE_S)
        bad, good = runner.status()
        assert (bad.name, bad.last_error) == ("bad", "RuntimeError: no luck")
        assert bad.failures >= 2
        assert (good.failures, good.last_error) == (0, None)


def test_stop_reaches_a_long_task() -> None:
    """A task that looks at its event ends when the runner stops."""
    inside = threading.Event()

    def work(stop: threading.Event) -> None:
        inside.set()
        assert stop.wait(PATIENCE_S)

    with running(Task("work", LONG_S, work)) as runner:
        assert inside.wait(PATIENCE_S)
    assert runner.status()[0].runs == 1


def test_unknown_task_is_not_found() -> None:
    """Poking what there is not says what there is."""
    with running(Task("work", LONG_S, lambda _: None)) as runner, pytest.raises(NotFound, match="work"):
        runner.poke("other")


def test_backoff_grows_and_ends() -> None:
    """Pauses double up to the most and begin anew after a success."""
    backoff = Backoff(1, 5)
    assert [backoff.next_s() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next_s() == 1
