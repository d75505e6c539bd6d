"""How long to wait after errors: longer each time, never for ever."""

from __future__ import annotations


class Backoff:
    """Doubling pauses from `first_s` to at most `most_s` seconds."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    @property
    def failures(self) -> int:
        """Errors in a row."""
        return self._failures

    def reset(self) -> None:
        """Something worked."""
        self._failures = 0

    def next_s(self) -> float:
        """Count one more error and return the pause that follows it."""
        self._failures += 1
        return float(min(self._first_s * 2 ** min(self._failures - 1, 30), self._most_s))
