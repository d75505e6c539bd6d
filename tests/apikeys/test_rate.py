"""The token bucket: a minute's share, spent at once or evenly, and exact about when to come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.apikeys.rate import RateLimit
from opssentinal.errors import RateLimited


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_share_is_spent_and_fills_up_again() -> None:
    """60 a minute: 60 at once, then one each second; Retry-After is when there is enough again."""
    clock = Clock()
    limit = RateLimit("requests", 60, clock)
    assert limit.take("a", 60) == (0, 60)
    with pytest.raises(RateLimited) as refused:
        limit.take("a", 5)
    assert refused.value.retry_after_s == 5
    clock.now += 4.9
    with pytest.raises(RateLimited):
        limit.take("a", 5)
    clock.now += 0.2
    assert limit.take("a", 5).left == 0
    assert limit.take("b").left == 59


def test_more_than_a_share_passes_a_full_bucket_only() -> None:
    """A batch over the whole share is not refused for ever: a full bucket lets it through and then takes longer to fill."""
    clock = Clock()
    limit = RateLimit("events", 10, clock)
    assert limit.take("a", 30) == (0, 180)
    clock.now += 179
    with pytest.raises(RateLimited):
        limit.take("a", 30)
    clock.now += 1.1
    limit.take("a", 30)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=50))
def test_no_more_than_two_shares_in_any_minute(requests: list[tuple[float, int]]) -> None:
    """Whatever the pattern, what passes within a minute is at most the full bucket and what flowed in meanwhile."""
    clock = Clock()
    limit = RateLimit("events", 50, clock)
    passed: list[tuple[float, int]] = []
    for pause, amount in requests:
        clock.now += pause
        try:
            limit.take("a", amount)
        except RateLimited as error:
            assert error.retry_after_s >= 1
            continue
        passed.append((clock.now, amount))
    for start, _ in passed:
        assert sum(amount for at, amount in passed if start <= at < start + 60) <= 100 + 1e-6
