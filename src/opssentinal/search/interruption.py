"""Interruption: how a question that nobody waits for any more, or that takes too long, is stopped.

An engine can only be interrupted while it works, and between two statements it does not. So the wish is kept here and
checked before each statement; and whoever stops a question repeats `cancel` until the work has ended, for the moment
between a check and the statement.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from opssentinal.errors import Unavailable

Reason = Literal["cancelled", "query_timeout", "closing"]


class Interruption:
    """One question's way to be stopped, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: Reason | None = None
        self._interrupt: Callable[[], None] | None = None

    def cancel(self, reason: Reason = "cancelled") -> None:
        """Stop the work; the first reason counts. May be repeated, and is harmless when the work has ended."""
        with self._lock:
            self._reason = self._reason or reason
            if self._interrupt is not None:
                self._interrupt()

    @property
    def is_cancelled(self) -> bool:
        """Whether the work is to stop."""
        return self._reason is not None

    def check(self) -> None:
        """Raise Unavailable where the work is to stop."""
        if self._reason is not None:
            raise self.error()

    def error(self) -> Unavailable:
        """The error that stopped work ends with."""
        if self._reason == "query_timeout":
            return Unavailable(
                "The question took too long and was stopped.",
                hint="Narrow the time range or the filter.",
                code="query_timeout",
            )
        if self._reason == "closing":
            return Unavailable("Search has to open its index again.", hint="Ask again in a moment.", code="rebuilding")
        return Unavailable("The question was withdrawn.", code="cancelled")

    @contextmanager
    def working(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """While the block runs, `cancel` calls `interrupt`, which may come from another thread."""
        with self._lock:
            self._interrupt = interrupt
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._interrupt = None
