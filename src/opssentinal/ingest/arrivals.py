"""From the sequencer's thread back to the event loop: receipts of one commit arrive in one wake-up.

`asyncio.wrap_future` wakes the loop once per request, which at thousands a second costs more than decoding the events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Arrivals(Generic[T]):
    """Turns concurrent futures into futures of `loop`. A waiter that is cancelled leaves the concurrent future alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[asyncio.Future[T], Future[T]]] = deque()
        self._woken = False

    def waiter(self, future: Future[T]) -> asyncio.Future[T]:
        """Return a future to await on the loop, which ends as `future` does."""
        waiting: asyncio.Future[T] = self._loop.create_future()
        future.add_done_callback(lambda done: self._arrive(waiting, done))
        return waiting

    def _arrive(self, waiting: asyncio.Future[T], done: Future[T]) -> None:
        # In any thread. Put in before looking at the flag: whoever resets the flag looks into the queue afterwards.
        self._arrived.append((waiting, done))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        while self._arrived:
            waiting, done = self._arrived.popleft()
            if waiting.cancelled():
                continue
            error = done.exception()
            if error is None:
                waiting.set_result(done.result())
            else:
                waiting.set_exception(error)
