"""When the nights are and how long events are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.retention import policy

NIGHT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_presets_are_those_people_ask_for() -> None:
    """90 days to 10 years and for ever, one year by default."""
    assert [days for days, _ in policy.PRESETS] == [90, 180, 365, 730, 1095, 1825, 2555, 3650, None]
    assert policy.days_text(2555) == "7 years"
    assert policy.days_text(None) == "For ever"
    assert policy.days_text(1000) == "1,000 days"


@pytest.mark.parametrize(
    ("now", "succeeded_at", "tried_at", "due"),
    [
        (NIGHT - HOUR, None, None, NIGHT - 24 * HOUR),  # a new installation: at once
        (NIGHT + 9 * HOUR, NIGHT, NIGHT, NIGHT + 24 * HOUR),  # done tonight: tomorrow
        (NIGHT, NIGHT - 24 * HOUR, NIGHT - 24 * HOUR, NIGHT),  # done yesterday: now
        (NIGHT - HOUR, NIGHT - 24 * HOUR, NIGHT - 24 * HOUR, NIGHT),
        (NIGHT + HOUR, NIGHT - 90 * HOUR, NIGHT - 90 * HOUR, NIGHT),  # slept through: made up for
        (NIGHT + HOUR, NIGHT - 24 * HOUR, NIGHT, NIGHT + policy.RETRY_AFTER),  # failed tonight: soon again
        (NIGHT + HOUR, None, NIGHT - 24 * HOUR, NIGHT),  # failed last night
    ],
)
def test_when_a_run_is_due(now: datetime, succeeded_at: datetime, tried_at: datetime, due: datetime) -> None:
    """Each night once; a missed night at the next start; a failed one again before the next night."""
    assert policy.next_due(now, succeeded_at, tried_at) == due


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2099, 1, 1), timezones=st.just(UTC)))
def test_a_night_that_is_done_is_done(now: datetime) -> None:
    """After a success at any moment, the next run is in the future and at most a day away, at 03:00 UTC."""
    due = policy.next_due(now, now, now)
    assert now < due <= now + timedelta(days=1)
    assert (due.hour, due.minute) == (3, 0)
