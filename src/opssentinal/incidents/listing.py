"""Which incidents a list shows: its filters, how many there are of each status, and its pages."""

from __future__ import annotations

from typing import NamedTuple

from django.db.models import Count, QuerySet

from opssentinal.incidents.models import Incident, Status

PER_PAGE = 50


class Wanted(NamedTuple):
    """The filters of a list; what is empty filters nothing. `assignee` is an account's number, or `UNASSIGNED`."""

    status: str = ""
    severity: str = ""
    assignee: int | None = None
    text: str = ""


UNASSIGNED = 0  # no account has this number


class Page(NamedTuple):
    """Incidents, newest first; `older` is the number below which the next page begins, None on the last one."""

    incidents: list[Incident]
    older: int | None


def matching(incidents: QuerySet[Incident], wanted: Wanted) -> QuerySet[Incident]:
    """The incidents that are wanted."""
    if wanted.status:
        incidents = incidents.filter(status=wanted.status)
    if wanted.severity:
        incidents = incidents.filter(severity=wanted.severity)
    if wanted.assignee is not None:
        incidents = incidents.filter(assignee=wanted.assignee or None)
    if wanted.text:
        incidents = incidents.filter(title__icontains=wanted.text)
    return incidents


def page_of(incidents: QuerySet[Incident], below: int | None = None, limit: int = PER_PAGE) -> Page:
    """Up to `limit` of the incidents, those numbered below `below` where it is given."""
    if below is not None:
        incidents = incidents.filter(number__lt=below)
    found = list(incidents.order_by("-number")[: limit + 1])
    return Page(found[:limit], found[limit - 1].number if len(found) > limit else None)


def counts_by_status(incidents: QuerySet[Incident], wanted: Wanted) -> dict[str, int]:
    """How many of the incidents that are wanted, but for their status, have which; every status is there."""
    rows = matching(incidents, wanted._replace(status="")).order_by().values_list("status").annotate(Count("number"))
    found = dict(rows)
    return {status: found.get(status, 0) for status in Status.values}
