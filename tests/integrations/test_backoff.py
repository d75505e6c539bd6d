"""The schedule of attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.integrations import backoff

BEGIN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(hours=24)


@given(st.lists(st.floats(0, 1), min_size=60, max_size=60))
def test_attempts_go_on_for_a_day_and_then_end(chances: list[float]) -> None:
    """However chance falls: pauses stay within their bounds, few attempts are made, and the last is after exactly a day."""
    now, attempts = BEGIN, 1
    while (following := backoff.next_attempt(attempts, BEGIN, now, chance=chances[attempts])) is not None:
        pause = following - now
        full = timedelta(seconds=min(5 * 2 ** (attempts - 1), 7200))
        assert full / 2 <= pause <= full or following == BEGIN + DAY
        now, attempts = following, attempts + 1
    assert now == BEGIN + DAY
    assert 20 <= attempts <= 40


def test_chance_spreads_attempts() -> None:
    """Two senders that fail together do not come back together."""
    assert len({backoff.next_attempt(5, BEGIN, BEGIN) for _ in range(20)}) > 10


@given(st.integers(0, 10**6), st.integers(1, 30))
def test_a_receiver_may_ask_for_a_longer_pause(seconds: int, attempts: int) -> None:
    """What Retry-After asks for is kept, but not beyond the day; a shorter one than ours changes nothing."""
    asked = timedelta(seconds=seconds)
    following = backoff.next_attempt(attempts, BEGIN, BEGIN, retry_after=asked, chance=0)
    assert following is not None
    ours = timedelta(seconds=min(5 * 2 ** (attempts - 1), 7200))
    assert following == BEGIN + min(max(asked, ours), DAY)


@pytest.mark.parametrize(
    ("value", "pause"),
    [
        ("120", timedelta(minutes=2)),
        (" 0 ", timedelta()),
        ("99999999999999999999", DAY),
        ("Sun, 22 Nov 2026 12:05:00 GMT", timedelta(minutes=5)),
        ("Sun, 22 Nov 2026 11:00:00 GMT", timedelta()),
        ("Sun, 22 Nov 2026 12:05:00", timedelta(minutes=5)),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_http_has_it(value: str | None, pause: timedelta | None) -> None:
    """Seconds or a date; what is neither is ignored."""
    assert backoff.retry_after(value, BEGIN) == pause
