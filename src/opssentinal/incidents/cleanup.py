"""What the standard cleanup deletes here: incidents that have been closed for long, with their notes and timelines.

The audit events about them, and those on their timelines, are in the ledger and stay there.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet

from opssentinal.incidents.models import Incident, Status
from opssentinal.workspace.preferences import preferences

AT_ONCE = 200


def long_closed(now: datetime) -> QuerySet[Incident]:
    """The incidents that were closed at least `cleanup_incidents_days` ago; none where they are kept for ever."""
    days = preferences().cleanup_incidents_days
    if days is None:
        return Incident.objects.none()
    return Incident.objects.filter(status=Status.CLOSED, closed_at__lte=now - timedelta(days=days))


def delete_closed(now: datetime) -> int:
    """Delete them; return how many incidents are gone."""
    deleted = 0
    while True:
        with transaction.atomic():  # a short one each time, so that nobody waits long
            # Asked within: an incident that is opened again meanwhile is not among them.
            numbers = list(long_closed(now).select_for_update().values_list("number", flat=True)[:AT_ONCE])
            Incident.objects.filter(number__in=numbers).delete()
        deleted += len(numbers)
        if len(numbers) < AT_ONCE:
            return deleted
