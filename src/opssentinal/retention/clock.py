"""Whether the wall clock can be believed before anything is removed by it.

A clock that a faulty time source sets a year ahead makes every event look past its retention, and one run would empty the log;
what is recorded meanwhile carries the wrong time too, so the log itself cannot tell. Therefore the time at which retention last
looked is kept. It looks every five minutes, and time moves no further than the server was off: from a leap of more than
`LEAP_MAX` on nothing is removed and nothing that was scheduled takes effect, until the clock is back or an admin says that it is
right. A clock that goes back moves nothing, since it removes nothing early.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from opssentinal.errors import Conflict
from opssentinal.events.model import Actor, Context, Event, Target, rfc3339
from opssentinal.ledger.recording import recording
from opssentinal.retention.models import LastLook
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
    """How far the clock has leapt, if it cannot be believed; None where it can."""
    last = LastLook.objects.filter(pk=1).first()
    return None if last is None or now - last.at <= LEAP_MAX else Leap(last.at, now)


def look(now: datetime) -> Leap | None:
    """Like `leap`, and keep that the clock said `now` where it can be believed. The first look ever believes what it sees."""
    found = leap(now)
    with transaction.atomic():  # a statement on its own would not wait its turn among the writers
        # Of two that look at once, on two servers, neither may undo the later time.
        if found is None and not LastLook.objects.filter(pk=1, at__lt=now, at__gte=now - LEAP_MAX).update(at=now):
            LastLook.objects.get_or_create(pk=1, defaults={"at": now})
    return found


def confirm(seen: datetime, actor: Actor, context: Context, now: datetime) -> None:
    """Believe the clock, as somebody says who was shown that it said `seen`; recorded as retention.clock_confirmed.

    Raises Conflict where there is nothing to confirm any more, or the clock has changed once more since it was shown.
    """
    with recording() as record:
        last = LastLook.objects.select_for_update().filter(pk=1).first()
        if last is None or now - last.at <= LEAP_MAX:
            raise Conflict("The clock is believed already.")
        if abs(now - seen) > _ANSWER_WITHIN:
            raise Conflict("The clock has changed since it was shown.", hint="Look at it once more.")
        record(
            Event(
                action="retention.clock_confirmed",
                outcome="success",
                actor=actor,
                context=context,
                targets=[Target(type="settings", id=SECTION, name=SECTIONS[SECTION])],
                metadata={"clock": rfc3339(now), "last_look": rfc3339(last.at)},
            )
        )
        last.at = now
        last.save(update_fields=["at"])
