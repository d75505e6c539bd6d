"""The runner: named tasks that run every so often or when poked, each one at a time.

An error of a task is never lost: it is logged, shown in the status, and the task tried again after a growing pause.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connections
from msgspec import Struct

from opssentinal.errors import NotFound
from opssentinal.followers.backoff import Backoff

_log = logging.getLogger(__name__)
_RETRY_FIRST_S = 5.0


@dataclass(frozen=True)
class Task:
    """Work that is due every `every_s` seconds, `first_s` after the start for the first time, and whenever poked.

    `run` gets an event that is set when the process stops; long work looks at it now and then. Before and after it runs,
    database connections of its thread are closed.
    """

    name: str
    every_s: float
    run: Callable[[threading.Event], object]
    first_s: float = 0.0


class TaskStatus(Struct):
    """How a task is doing. `failures` counts those in a row; `last_error` is that of the last run, None where it worked."""

    name: str
    running: bool
    runs: int
    failures: int
    last_started: datetime | None = None
    last_ended: datetime | None = None
    last_error: str | None = None
    next_run: datetime | None = None


class Runner:
    """Runs tasks, each in a thread of its own, from `start` to `stop`."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._stop = threading.Event()
        self._lines = {task.name: _Line(task, self._stop) for task in tasks}
        if len(self._lines) != len(tasks):
            raise ValueError("two tasks have the same name")

    def start(self) -> None:
        """Begin."""
        for line in self._lines.values():
            line.thread.start()

    def stop(self, timeout_s: float = 20.0) -> None:
        """Tell tasks to stop and wait for them, at most `timeout_s` each."""
        self._stop.set()
        for line in self._lines.values():
            line.poke()
        for line in self._lines.values():
            if line.thread.ident is not None:
                line.thread.join(timeout_s)
                if line.thread.is_alive():
                    _log.warning("The task %s does not stop and is left.", line.task.name)

    def poke(self, name: str) -> None:
        """Run a task now, or once more if it is running. Raises NotFound."""
        if name not in self._lines:
            raise NotFound(f"There is no task {name}.", hint=f"There are {', '.join(self._lines) or 'none'}.")
        self._lines[name].poke()

    def status(self) -> list[TaskStatus]:
        """How every task is doing."""
        return [line.status() for line in self._lines.values()]


class _Line:
    """One task, its thread and what became of it."""

    def __init__(self, task: Task, stop: threading.Event) -> None:
        self.task = task
        self.thread = threading.Thread(target=self._run, name=f"task-{task.name}", daemon=True)
        self._stop = stop
        self._poked = threading.Event()
        self._backoff = Backoff(min(_RETRY_FIRST_S, task.every_s), task.every_s)
        self._status = TaskStatus(task.name, running=False, runs=0, failures=0)
        self._wait_s = task.first_s

    def poke(self) -> None:
        self._poked.set()

    def status(self) -> TaskStatus:
        return self._status

    def _note(self, **changes: object) -> None:
        """Replace the status as a whole, so that readers never see half of it."""
        now = {name: getattr(self._status, name) for name in TaskStatus.__struct_fields__}
        self._status = TaskStatus(**(now | changes))

    def _run(self) -> None:
        while True:
            self._note(next_run=datetime.now(UTC) + timedelta(seconds=self._wait_s))
            self._poked.wait(self._wait_s)
            self._poked.clear()
            if self._stop.is_set():
                return
            self._wait_s = self._once()

    def _once(self) -> float:
        """Run the task; return how long to wait until the next time."""
        self._note(running=True, last_started=datetime.now(UTC), next_run=None)
        error = None
        try:
            self.task.run(self._stop)
        except Exception as failure:  # noqa: BLE001
            # Whatever it is: the other tasks go on, and this one is tried again.
            _log.exception("The task %s failed.", self.task.name)
            error = f"{type(failure).__name__}: {failure}"
        finally:
            connections.close_all()
        if error is None:
            self._backoff.reset()
            wait_s = self.task.every_s
        else:
            wait_s = self._backoff.next_s()
        self._note(
            running=False,
            runs=self._status.runs + 1,
            failures=self._backoff.failures,
            last_ended=datetime.now(UTC),
            last_error=error,
        )
        return wait_s
