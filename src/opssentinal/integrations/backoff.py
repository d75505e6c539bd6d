"""When a failed delivery is tried again: soon at first, then ever more rarely, for a day."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

FIRST_S = 5.0
MOST_S = 2 * 3600.0
GIVES_UP_AFTER = timedelta(hours=24)


def next_attempt(
    attempts: int,
    failing_since: datetime,
    now: datetime,
    *,
    retry_after: timedelta | None = None,
    chance: float | None = None,
) -> datetime | None:
    """When to try again after `attempts` failed ones, the first of which was at `failing_since`; None to give up.

    Pauses double from 5 seconds to 2 hours; each is shortened by up to a half at random (`chance`, 0 to 1), so that many
    senders do not come back at one moment. A receiver may ask for a longer one. The last attempt is after 24 hours.
    """
    last = failing_since + GIVES_UP_AFTER
    if now >= last:
        return None
    pause_s = min(FIRST_S * 2 ** min(attempts - 1, 30), MOST_S)
    pause = timedelta(seconds=pause_s * (1 - (random.random() if chance is None else chance) / 2))
    return min(now + max(pause, retry_after or timedelta()), last)


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """The pause that a Retry-After header asks for, in seconds or until a date (RFC 9110, Section 10.2.3)."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(int(value[:10]), GIVES_UP_AFTER.total_seconds()))
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None  # not understood, so the usual pause it is
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(moment - now, timedelta())
