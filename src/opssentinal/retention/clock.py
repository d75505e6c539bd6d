"""Whether the wall clock can be believed before anything is removed by it.

A clock that a faulty time source sets a year ahead makes every event look past its retention, and one run would empty the log;
what is recorded meanwhile carries the wrong time too, so the log itself cannot tell. Therefore the time at which retention last
looked is kept. It looks every five minutes, and time moves no further than the server was off: from a leap of more than
`LEAP_MAX` on nothing is removed and nothing that was scheduled takes effect, until the clock is back or an admin says that it is
right. Where no look is kept yet, the last run of retention that succeeded stands for it.

A clock that goes back is followed at once, however far, since that removes nothing early: a clock that was ahead and believed,
by mistake or by a few days, is asked about again when it leaps once more. The price is that a clock which was far behind for a
moment, and is right again, is asked about as well; which of the two it was nobody here can know, and waiting loses nothing.
Of servers on one ledger, whose clocks differ by more than `LEAP_MAX`, the one that is ahead waits, and whoever confirms its
clock does so until the other one looks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from opssentinal.errors import Conflict
from opssentinal.events.model import Actor, Context, Event, Target, rfc3339
from opssentinal.ledger.recording import recording
from opssentinal.retention.models import LastLook, RetentionRun
from opssentinal.retention.scheduling import SECTION
from opssentinal.workspace.preferences import SECTIONS

# As long as a server may be off without anybody being asked; and as much too early, at worst, an event may go.
LEAP_MAX: Final = timedelta(days=7)
# Between the page that shows the clock and the answer that it is right.
_ANSWER_WITHIN: Final = timedelta(hours=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leap:
    """A clock that is too far ahead to be believed: what it says, and what it said when retention last looked."""

    last_look: datetime
    now: datetime

    def __str__(self) -> str:
        return (
            f"The server's clock says {_day(self.now)}; when retention last looked it was {_day(self.last_look)}. "
            "Nothing is removed until the clock is set right or, if it is right, an admin says so in "
            "Settings → Data Retention (or opssentinal prune --clock-is-right)."
        )


def _day(moment: datetime) -> str:
    return f"{moment:%d %b %Y %H:%M} UTC"


def leap(now: datetime) -> Leap | None:
    """How far the clock has leapt, if it cannot be believed; None where it can, and where nothing is known to compare it with."""
    return _leap(now, LastLook.objects.all())


def look(now: datetime) -> Leap | None:
    """Like `leap`, and keep that the clock said `now`, later or earlier than before, where it can be believed."""
    with transaction.atomic():
        # Of two that look at once, on two servers, the second compares with what the first has kept.
        found = _leap(now, LastLook.objects.select_for_update())
        if found is None:
            LastLook.objects.update_or_create(pk=1, defaults={"at": now})
        else:
            LastLook.objects.get_or_create(pk=1, defaults={"at": found.last_look})
    return found


def _leap(now: datetime, looks: QuerySet[LastLook]) -> Leap | None:
    last = looks.filter(pk=1).first()
    at = _last_run_at() if last is None else last.at
    return None if at is None or now - at <= LEAP_MAX else Leap(at, now)


def _last_run_at() -> datetime | None:
    """When the last run that succeeded began, for the first look at a log that a version kept which did not look; None in a new one.

    The cleanup has run every night, whatever the retention, so a run is as old as the server was off, and a night. None is of
    the clock that is in question: a run looks before it succeeds, so that there is a look from then on. Nothing else would say
    more. What was recorded, and the tables that were made, since this start carry the clock in question, and from before it a
    log may have been quiet for months. A log without any run is not a day old, or none has ever come to its end.
    """
    run = RetentionRun.objects.filter(finished_at__isnull=False, error="").first()
    return None if run is None else run.started_at


def confirm(seen: datetime, actor: Actor, context: Context, now: datetime) -> None:
    """Believe the clock, as somebody says who was shown that it said `seen`; recorded as retention.clock_confirmed.

    Raises Conflict where there is nothing to confirm any more, or the clock has changed once more since it was shown.
    """
    with recording() as record:
        found = _leap(now, LastLook.objects.select_for_update())
        if found is None:
            raise Conflict("The clock is believed already.", hint="There is nothing to confirm.")
        if abs(now - seen) > _ANSWER_WITHIN:
            raise Conflict("The clock has changed since it was shown.", hint="Look at it once more.")
        record(
            Event(
                action="retention.clock_confirmed",
                outcome="success",
                actor=actor,
                context=context,
                targets=[Target(type="settings", id=SECTION, name=SECTIONS[SECTION])],
                metadata={"clock": rfc3339(now), "last_look": rfc3339(found.last_look)},
            )
        )
        LastLook.objects.update_or_create(pk=1, defaults={"at": now})
