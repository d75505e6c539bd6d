"""How much one key may do in a minute: a token bucket per key, kept in the memory of this process.

A full bucket holds a minute's share, which may be spent at once and fills up again evenly. Several fronts count each for
themselves, so a key that is spread over n of them gets n shares.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from opssentinal.errors import RateLimited

KEYS_MAX = 10_000


class Budget(NamedTuple):
    """What is left after a request, as the RateLimit header says it; `full_in_s` is when the whole share is back."""

    left: int
    full_in_s: int


class RateLimit:
    """The buckets of one limit. Safe from any thread; `clock` gives seconds that never run backwards."""

    def __init__(self, name: str, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._per_minute = per_minute
        self._per_s = per_minute / 60
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # key → what was left, when

    @property
    def policy(self) -> str:
        """The value of RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";q={self._per_minute};w=60'

    def header(self, budget: Budget) -> str:
        """The value of RateLimit."""
        return f'"{self.name}";r={budget.left};t={budget.full_in_s}'

    def take(self, key: str, amount: int = 1) -> Budget:
        """Spend `amount` of a key's share. Raises RateLimited, having spent nothing, if there is not enough of it.

        An amount over a whole share is let through by a full bucket, which then takes as much longer to fill.
        """
        now, share = self._clock(), self._per_minute
        needed = min(amount, share)
        with self._lock:
            bucket = self._buckets.get(key)
            left: float = share
            if bucket is not None:
                left = min(share, bucket[0] + (now - bucket[1]) * self._per_s)
            elif len(self._buckets) >= KEYS_MAX:
                self._buckets.clear()
            if left < needed:
                raise RateLimited(
                    f"The share of {share:,} {self.name} a minute is used up.",
                    retry_after_s=max(1, math.ceil((needed - left) / self._per_s)),
                )
            left -= amount
            self._buckets[key] = (left, now)
        return Budget(max(0, int(left)), math.ceil((share - left) / self._per_s))
