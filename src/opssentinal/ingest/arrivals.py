"""From the sequencer's thread back to the event loop: receipts of one commit arrive in one wake-up.

`asyncio.wrap_future` wakes the loop once per request, which at thousands a second costs more than decoding the events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class Arrivals(Generic[T]):
    """Hands concurrent futures that are done to whoever waits for them on `loop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[Callable[[Future[T]], None], Future[T]]] = deque()
        self._woken = False

    def call(self, future: Future[T], receive: Callable[[Future[T]], None]) -> None:
        """Call `receive` on the loop with the future once it is done."""
        future.add_done_callback(lambda done: self._arrive(receive, done))

    def waiter(self, future: Future[T]) -> asyncio.Future[T]:
        """Return a future of the loop that ends as `future` does. One that is cancelled leaves `future` alone."""
        waiting: asyncio.Future[T] = self._loop.create_future()
        self.call(future, partial(_end, waiting))
        return waiting

    def _arrive(self, receive: Callable[[Future[T]], None], done: Future[T]) -> None:
        # In any thread. Put in before looking at the flag: whoever resets the flag looks into the queue afterwards.
        self._arrived.append((receive, done))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        try:
            while self._arrived:
                receive, done = self._arrived.popleft()
                receive(done)
        finally:
            if self._arrived:  # one raised, for which the others do not wait until the next commit
                self._loop.call_soon(self._deliver)


def _end(waiting: asyncio.Future[T], done: Future[T]) -> None:
    if waiting.cancelled():
        return
    error = done.exception()
    if error is None:
        waiting.set_result(done.result())
    else:
        waiting.set_exception(error)
