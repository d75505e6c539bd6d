"""Django's cache in memory, which keeps what it has for as long as it was told, whatever becomes of the wall clock.

It counts sign-ins that failed and remembers whose look at the log was recorded lately and which codes were used. By the wall
clock, what it was told while that was a year ahead would stay for a year after it was set right: a lock-out that does not end,
looks that are not recorded.
"""

from __future__ import annotations

import time
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache


class SteadyCache(LocMemCache):
    """Entries end by a clock that only measures."""

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> float | None:
        """When an entry ends that is kept for `timeout` seconds; None is never."""
        chosen: float | None = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        # 0 is not at all: LocMemCache has it end before now, since the clock may not have moved when it is asked for.
        return None if chosen is None else time.monotonic() + (chosen or -1)

    def _has_expired(self, key: str) -> bool:
        # LocMemCache asks this of every entry before it is used; the wall clock is read in nothing else of it.
        end: float | None = self._expire_info.get(key, -1)  # type: ignore[attr-defined]
        return end is not None and end <= time.monotonic()
