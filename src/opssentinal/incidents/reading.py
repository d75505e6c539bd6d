"""Which audit events somebody may put on a timeline and follow from it: those they may read in the log, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.urls import reverse

from opssentinal.errors import InvalidInput, InvalidQuery, NotFound
from opssentinal.events.model import RecordedEvent
from opssentinal.events.sentences import visible
from opssentinal.incidents.models import AttachedEvent, Incident
from opssentinal.ledger import reader
from opssentinal.query import Filter, to_params, zone_named
from opssentinal.workspace.access import log_bounds, reads_log, record_denial
from opssentinal.workspace.preferences import preferences

# What happened shortly before and after is what one looks for around a timeline.
AROUND = timedelta(minutes=15)


class TimelineEvent(NamedTuple):
    """An attached event as a page shows it; the addresses are empty where there is nothing to follow."""

    event: AttachedEvent
    sentence: str
    action: str
    url: str
    actor_url: str


def require_log_reader(request: HttpRequest) -> None:
    """Refuse (403, recorded) who may not read the log."""
    if not reads_log(request.user):
        record_denial(request)
        raise PermissionDenied


def readable_event(request: HttpRequest, seq: int) -> RecordedEvent:
    """The event at `seq`. Raises NotFound, also where it lies outside of what this account may read."""
    bounds = log_bounds(request.user)
    if seq.bit_length() <= 63:
        try:
            event = reader.read_event(seq)
        except NotFound:
            if bounds == Filter():
                raise
        else:
            if _is_within(bounds, event.occurred_at):
                return event
    raise NotFound(f"There is no event {seq}.")


def named_event(request: HttpRequest, text: str) -> RecordedEvent:
    """The event that `text` names by seq or id. Raises NotFound, and InvalidInput where an id is that of several."""
    text = text.strip()
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return readable_event(request, int(text))
    try:
        seqs = reader.find_by_id(UUID(text))
    except ValueError as error:
        raise InvalidInput("is neither an event’s place in the log nor its id", path="event") from error
    bounds = log_bounds(request.user)
    found = [event for event in reader.read_events(seqs).values() if _is_within(bounds, event.occurred_at)]
    if not found:
        raise NotFound("There is no such event.")
    if len(found) > 1:
        seqs_text = ", ".join(str(event.seq) for event in found)
        raise InvalidInput(f"is the id of several events; name one by its place: {seqs_text}", path="event")
    return found[0]


def timeline(request: HttpRequest, attached: Iterable[AttachedEvent]) -> list[TimelineEvent]:
    """The attached events in order of time, with addresses for those who may read the log, while there is something."""
    attached = list(attached)
    if not reads_log(request.user):
        return [_shown(event, "", "") for event in attached]
    bounds = log_bounds(request.user)
    around = _around(attached)
    within = {event.seq for event in attached if _is_within(bounds, event.occurred_at)}
    there = reader.read_events(within)
    return [
        _shown(
            event,
            reverse("web:event", args=[event.seq]) if event.seq in there else "",
            _log_url(around.including("actor", event.actor_id)) if event.seq in within and event.actor_id else "",
        )
        for event in attached
    ]


def around_url(request: HttpRequest, attached: list[AttachedEvent]) -> str:
    """The address of the log around the timeline, from AROUND before it to AROUND after it; empty without one."""
    return _log_url(_around(attached)) if attached and reads_log(request.user) else ""


def history_url(request: HttpRequest, incident: Incident) -> str:
    """The address of everything the log has about the incident: who opened, changed and looked at it."""
    if not reads_log(request.user):
        return ""
    return _log_url(Filter().including("target", incident.public_id), ("range", "all"))


def _shown(event: AttachedEvent, url: str, actor_url: str) -> TimelineEvent:
    return TimelineEvent(event, visible(event.sentence), visible(event.action), url, actor_url)


def _around(attached: list[AttachedEvent]) -> Filter:
    times = [event.occurred_at for event in attached]
    try:
        return Filter(after=min(times) - AROUND, before=max(times) + AROUND) if times else Filter()
    except InvalidQuery:  # a sender's clock stands beyond the years that one can ask for
        return Filter()


def _log_url(filter: Filter, *extra: tuple[str, str]) -> str:
    # Read again in the zone of the log's page, which is this one.
    zone = zone_named(preferences().time_zone)
    return f"{reverse('web:log')}?{urlencode([*to_params(filter, zone), *extra])}"


def _is_within(bounds: Filter, moment: datetime) -> bool:
    return (bounds.after is None or bounds.after <= moment) and (bounds.before is None or moment < bounds.before)
