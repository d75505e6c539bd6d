"""The task of the back process: a worker for each integration that has something to do, so that a slow one delays no other."""

from __future__ import annotations

import logging
import threading
import time

from django.db import connections

from opssentinal.integrations import webhook
from opssentinal.integrations.follower import Follower

LOOK_S = 1.0
WORKERS_MAX = 16
# A worker ends after that, so that with more integrations than workers each gets its turn.
TURN_S = 20.0

_log = logging.getLogger(__name__)


class Dispatcher:
    """Call it with the event that ends it: it looks every second which integrations have something to do.

    An unexpected error of a worker is raised from the call, so that the runner logs and shows it and calls again; the other
    workers go on meanwhile.
    """

    def __init__(self, follower: Follower, *, look_s: float = LOOK_S, workers_max: int = WORKERS_MAX) -> None:
        self._follower = follower
        self._look_s = look_s
        self._workers_max = workers_max
        self._workers: dict[int, threading.Thread] = {}
        self._served: dict[int, float] = {}
        self._failures: list[Exception] = []

    def __call__(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then wait for what is being sent."""
        while not stop.is_set():
            self._look(stop)
            stop.wait(self._look_s)
        until = time.monotonic() + webhook.TIMEOUT_S + 2
        for worker in self._workers.values():
            worker.join(max(until - time.monotonic(), 0))
        self._follower.release()

    def _look(self, stop: threading.Event) -> None:
        self._workers = {pk: worker for pk, worker in self._workers.items() if worker.is_alive()}
        if self._failures:
            raise self._failures.pop()
        waiting = [pk for pk in self._follower.due() if pk not in self._workers]
        self._served = {pk: at for pk, at in self._served.items() if pk in waiting or pk in self._workers}
        # Who was served longest ago comes first.
        for pk in sorted(waiting, key=lambda pk: self._served.get(pk, 0.0)):
            if len(self._workers) >= self._workers_max:
                break
            self._served[pk] = time.monotonic()
            worker = threading.Thread(target=self._work, args=(pk, stop), name=f"integration-{pk}", daemon=True)
            self._workers[pk] = worker
            worker.start()

    def _work(self, pk: int, stop: threading.Event) -> None:
        until = time.monotonic() + TURN_S
        try:
            while not stop.is_set() and time.monotonic() < until and self._follower.step(pk):
                continue
        except Exception as error:  # noqa: BLE001 - raised again by the next look
            error.add_note(f"in the integration with the key {pk}")
            self._failures.append(error)
        finally:
            connections.close_all()
