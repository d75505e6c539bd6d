"""What the standard cleanup deletes here: incidents that have been closed for long, with their notes and timelines.

The audit events about them, and those on their timelines, are in the ledger and stay there; so does which ones were deleted.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from opssentinal.events.model import Actor, Event, Target
from opssentinal.incidents.models import Incident, Status
from opssentinal.ledger.recording import recording
from opssentinal.workspace.preferences import preferences

ACTOR: Final = Actor(type="system", id="cleanup", name="Standard cleanup")
AT_ONCE = 200


def long_closed(now: datetime) -> QuerySet[Incident]:
    """The incidents that were closed at least `cleanup_incidents_days` ago; none where they are kept for ever."""
    days = preferences().cleanup_incidents_days
    if days is None:
        return Incident.objects.none()
    return Incident.objects.filter(status=Status.CLOSED, closed_at__lte=now - timedelta(days=days))


def delete_closed(now: datetime) -> int:
    """Delete them, some hundred at once, each time with a cleanup.finished that has their numbers; return how many are gone."""
    deleted = 0
    while True:
        with recording() as record:  # a short one each time, so that nobody waits long
            # Asked within: an incident that is opened again meanwhile is not among them.
            closed = long_closed(now).select_for_update().order_by("number")
            numbers = list(closed.values_list("number", flat=True)[:AT_ONCE])
            if numbers:
                Incident.objects.filter(number__in=numbers).delete()
                record(_deleted(numbers))
        deleted += len(numbers)
        if len(numbers) < AT_ONCE:
            return deleted


def _deleted(numbers: list[int]) -> Event:
    return Event(
        action="cleanup.finished",
        outcome="success",
        actor=ACTOR,
        targets=[Target(type="cleanup", id="cleanup", name="Standard cleanup")],
        metadata={"incidents": len(numbers), "numbers": numbers},
    )
