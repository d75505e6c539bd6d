"""How long events are kept, and when the nights are: the rules of retention, without anything that acts.

Retention counts from `recorded_at`, the log's own clock. `occurred_at` is the caller's: whoever could set it could otherwise
have an event pruned at once, or an import of old events would be gone the next night.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

# Under a month, whoever gets hold of an admin's account could have their own traces pruned before anybody looks, and the
# record of the change that did it as well. No later than this many days either: a calendar has to hold the date.
DAYS_MIN = 30
DAYS_MAX = 36_500
DAYS_DEFAULT = 365

PRESETS: tuple[tuple[int | None, str], ...] = (
    (90, "90 days"),
    (180, "180 days"),
    (365, "1 year"),
    (730, "2 years"),
    (1095, "3 years"),
    (1825, "5 years"),
    (2555, "7 years"),
    (3650, "10 years"),
    (None, "For ever"),
)

NIGHTLY_AT = time(3, 0, tzinfo=UTC)
# After a run that failed, the next try comes this much later instead of the next night.
RETRY_AFTER = timedelta(minutes=15)


def days_text(days: int | None) -> str:
    """A retention in words."""
    for preset, text in PRESETS:
        if preset == days:
            return text
    return f"{days:,} days"


def cutoff(now: datetime, days: int) -> datetime:
    """The instant before which recorded events are past a retention of `days` days."""
    return now - timedelta(days=days)


def night_before(now: datetime) -> datetime:
    """The latest nightly time that is not after `now`."""
    today = datetime.combine(now.astimezone(UTC).date(), NIGHTLY_AT)
    return today if today <= now else today - timedelta(days=1)


def next_due(now: datetime, succeeded_at: datetime | None, tried_at: datetime | None) -> datetime:
    """When the nightly work is due, given when it last began and succeeded, and when it last began at all.

    In the past (or now) means at once: a night on which the server was down is made up for at the next start.
    """
    night = night_before(now)
    if succeeded_at is not None and succeeded_at >= night:
        return night + timedelta(days=1)
    if tried_at is not None and tried_at >= night:
        return tried_at + RETRY_AFTER
    return night
