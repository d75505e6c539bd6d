"""Opening, changing, noting and reading incidents, each in one transaction with the event that tells of it.

What the pages and the API share, and alert rules will: nothing here needs a request. With `tenant`, a function knows the
incidents of that tenant only, and any other is as if it did not exist.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import Error as DatabaseProblem
from django.db.models import QuerySet
from django.utils import timezone

from opssentinal.apikeys.rate import RateLimit
from opssentinal.errors import Conflict, InvalidInput, NotFound, OpsSentinalError, Unavailable
from opssentinal.events.model import Actor, Change, Context, Event, RecordedEvent
from opssentinal.events.sentences import sentence
from opssentinal.incidents.models import (
    REQUEST_KEY_MAX,
    TENANT_MAX,
    TEXT_MAX,
    TITLE_MAX,
    AttachedEvent,
    Counter,
    Incident,
    Note,
    Origin,
    Severity,
    Status,
)
from opssentinal.ledger.recording import recording
from opssentinal.workspace.models import User

NOTES_MAX = 1_000
ATTACHED_MAX = 200
ATTACHED_AT_ONCE_MAX = 50
NUMBER_MAX = 2**31 - 1  # of the column, and of an incident in any address

# How many one account or key may open in a minute; pages and API ask before they open one.
OPENED = RateLimit("incidents", 60)

# The fields that people change; `update_incident` takes these.
FIELDS = ("title", "severity", "status", "assignee", "description")

_log = logging.getLogger(__name__)


class Opened(NamedTuple):
    """An incident, and whether it was opened now or when the same request was sent before."""

    incident: Incident
    is_new: bool


def incidents_of(tenant: str | None = None) -> QuerySet[Incident]:
    """The incidents, newest first; with `tenant`, only its own."""
    incidents = Incident.objects.select_related("assignee")
    return incidents if tenant is None else incidents.filter(tenant=tenant)


def open_incident(
    actor: Actor,
    context: Context,
    *,
    title: str,
    severity: str,
    origin: str,
    description: str = "",
    assignee: User | None = None,
    tenant: str | None = None,
    events: Sequence[RecordedEvent] = (),
    request_key: str | None = None,
) -> Opened:
    """Open an incident with these audit events attached and record incident.created. Raises InvalidInput with the field.

    Whoever calls has seen to it that the actor may read `events`. `request_key` names the request: the same from the same
    actor again is answered with the incident it opened, and Conflict (`request_key_reused`) if it says something else.
    """
    incident = Incident(
        title=_line("title", title, TITLE_MAX),
        severity=_choice("severity", severity, Severity.values),
        origin=_choice("origin", origin, Origin.values),
        description=_text("description", description),
        assignee=_assignable(assignee),
        tenant=_line("tenant", tenant, TENANT_MAX) if tenant is not None else None,
        request_key=_line("request_key", request_key, REQUEST_KEY_MAX) if request_key is not None else None,
        created_at=(now := timezone.now()),
        updated_at=now,
    )
    incident.sign(actor)
    _check_attachable(incident, events, already=0)
    said = _said(incident, events)
    if incident.request_key is not None:
        incident.request_sha256 = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    with recording() as record:
        Counter.objects.get_or_create(pk=1)
        # Held until the end: numbers have no gaps, and of two requests of one name the second finds the first.
        counter = Counter.objects.select_for_update().get(pk=1)
        if (before := _opened_before(incident)) is not None:
            return Opened(before, is_new=False)
        incident.number = counter.last = counter.last + 1
        counter.save()
        incident.save(force_insert=True)
        AttachedEvent.objects.bulk_create(snapshot(incident, event, actor, now) for event in events)
        record(_event("incident.created", incident, actor, context, metadata=said))
    return Opened(incident, is_new=True)


def view_incident(actor: Actor, context: Context, number: int, *, tenant: str | None = None) -> Incident:
    """Record incident.viewed and only then return the incident, to be shown to the actor.

    Raises NotFound, and Unavailable (`not_recorded`) where the record cannot be made: then nothing may be shown.
    """
    try:
        with recording() as record:
            incident = _found(incidents_of(tenant), number)
            record(_event("incident.viewed", incident, actor, context))
    except NotFound:
        raise
    except (DatabaseProblem, OpsSentinalError) as error:
        _log.error("Incident #%s was not shown to %s, because this could not be recorded: %s", number, actor.id, error)
        raise Unavailable(
            "Opening an incident is recorded in the audit log, and that is not possible now; so it is not shown.",
            hint="Try again in a moment; the server's log says why.",
            code="not_recorded",
        ) from error
    return incident


def update_incident(
    actor: Actor,
    context: Context,
    number: int,
    changes: Mapping[str, Any],
    *,
    version: int | None = None,
    tenant: str | None = None,
) -> Incident:
    """Change some of FIELDS and record incident.updated with each before and after; nothing if nothing is different.

    `version` is the one that the change was made from: Conflict (`incident_changed`) if somebody has changed a field since.
    Raises NotFound, InvalidInput.
    """
    if not changes or set(changes) - set(FIELDS):
        raise InvalidInput(f"A change names at least one of {', '.join(FIELDS)}, and nothing else.")
    wanted = {field: _checked(field, value) for field, value in changes.items()}
    with recording() as record:
        incident = _locked(number, tenant)
        if version is not None and version != incident.version:
            raise Conflict(
                f"Somebody has changed incident #{number} since.",
                hint="Look at it again, then make your change.",
                code="incident_changed",
            )
        before = {field: _told(field, getattr(incident, field)) for field in wanted}
        for field, value in wanted.items():
            if field == "assignee" and value != incident.assignee:
                _assignable(value)
            setattr(incident, field, value)
        differing = [
            Change(field=field, before=before[field], after=after)
            for field in wanted
            if (after := _told(field, getattr(incident, field))) != before[field]
        ]
        if not differing:
            return incident
        now = timezone.now()
        if any(change.field == "status" for change in differing):
            incident.closed_at = now if incident.status == Status.CLOSED else None
        incident.version += 1
        incident.updated_at = now
        incident.save()
        record(_event("incident.updated", incident, actor, context, changes=differing))
    return incident


def add_note(actor: Actor, context: Context, number: int, text: str, *, tenant: str | None = None) -> Note:
    """Add a note and record incident.updated with it. Raises NotFound, InvalidInput, Conflict if there are too many."""
    text = _text("note", text)
    if not text.strip():
        raise InvalidInput("is empty", path="note")
    with recording() as record:
        incident = _locked(number, tenant)
        if incident.notes.count() >= NOTES_MAX:
            raise Conflict(
                f"The incident has {NOTES_MAX:,} notes already.", hint="Open another.", code="too_many_notes"
            )
        note = Note(incident=incident, text=text, created_at=timezone.now())
        note.sign(actor)
        note.save()
        _touch(incident, note.created_at)
        record(_event("incident.updated", incident, actor, context, changes=[Change(field="note", after=text)]))
    return note


def attach_events(
    actor: Actor, context: Context, number: int, events: Sequence[RecordedEvent], *, tenant: str | None = None
) -> list[AttachedEvent]:
    """Put audit events on an incident's timeline and record incident.updated; return those that were not there yet.

    Whoever calls has seen to it that the actor may read them. Raises NotFound, InvalidInput.
    """
    with recording() as record:
        incident = _locked(number, tenant)
        there = set(incident.attached.values_list("seq", flat=True))
        new = list({event.seq: event for event in events if event.seq not in there}.values())
        _check_attachable(incident, new, already=len(there))
        if not new:
            return []
        now = timezone.now()
        attached = AttachedEvent.objects.bulk_create(snapshot(incident, event, actor, now) for event in new)
        _touch(incident, now)
        change = Change(field="events", after=[str(event.id) for event in new])
        seqs = [event.seq for event in new]
        record(_event("incident.updated", incident, actor, context, changes=[change], metadata={"seqs": seqs}))
    return attached


def assignable() -> QuerySet[User]:
    """The accounts that an incident can be given to, by name."""
    return User.objects.filter(is_active=True).order_by("name", "email")


def assignee_by_email(email: str) -> User:
    """The account of this address that an incident can be given to. Raises InvalidInput."""
    user = assignable().filter(email=email.strip().lower()).first() if "\0" not in email else None
    if user is None:
        raise InvalidInput("There is no active account with this e-mail address.", path="assignee")
    return user


def _found(incidents: QuerySet[Incident], number: int) -> Incident:
    incident = incidents.filter(pk=number).first() if 0 < number <= NUMBER_MAX else None
    if incident is None:
        raise NotFound(f"There is no incident #{number}.")
    return incident


def _locked(number: int, tenant: str | None) -> Incident:
    """The incident, which nobody else changes until the transaction has ended."""
    return _found(incidents_of(tenant).select_for_update(of=("self",)), number)


def _touch(incident: Incident, now: datetime) -> None:
    """Note that something was added. The version stays: what is added contradicts nobody's change."""
    incident.updated_at = now
    incident.save(update_fields=["updated_at"])


def _opened_before(incident: Incident) -> Incident | None:
    if incident.request_key is None:
        return None
    found = incidents_of().filter(by_type=incident.by_type, by_id=incident.by_id, request_key=incident.request_key)
    before = found.first()
    if before is not None and before.request_sha256 != incident.request_sha256:
        raise Conflict(
            f"Another request with this key has opened incident #{before.number}.",
            hint="Name each new request anew.",
            code="request_key_reused",
        )
    return before


def _check_attachable(incident: Incident, events: Sequence[RecordedEvent], *, already: int) -> None:
    if len(events) > ATTACHED_AT_ONCE_MAX or already + len(events) > ATTACHED_MAX:
        raise InvalidInput(
            f"An incident takes {ATTACHED_AT_ONCE_MAX} events at once and {ATTACHED_MAX} in all.", path="events"
        )
    # Keys of the tenant read the incident: what is not theirs must not get there through it.
    if incident.tenant is not None and any(event.tenant != incident.tenant for event in events):
        raise InvalidInput(f"Only events of the tenant {incident.tenant} belong on this incident.", path="events")


def snapshot(incident: Incident, event: RecordedEvent, actor: Actor, now: datetime) -> AttachedEvent:
    """What an incident keeps of an event that the actor attaches now; not saved."""
    attached = AttachedEvent(
        incident=incident,
        seq=event.seq,
        event_id=event.id,
        action=event.action,
        outcome=event.outcome,
        occurred_at=event.occurred_at,
        actor_id=event.actor.id if event.actor else "",
        sentence=sentence(event.action, event.outcome, event.actor, event.targets, event.changes, event.message),
        created_at=now,
    )
    attached.sign(actor)
    return attached


def _said(incident: Incident, events: Sequence[RecordedEvent]) -> dict[str, Any]:
    """What an incident is opened with, beside its title, as the event tells it."""
    said: dict[str, Any] = {"title": incident.title, "severity": incident.severity, "origin": incident.origin}
    if incident.description:
        said["description"] = incident.description
    if incident.assignee is not None:
        said["assignee"] = incident.assignee.email
    if incident.tenant is not None:
        said["tenant"] = incident.tenant
    if events:
        said |= {"events": [str(event.id) for event in events], "seqs": [event.seq for event in events]}
    return said


def _event(
    action: str,
    incident: Incident,
    actor: Actor,
    context: Context,
    *,
    changes: list[Change] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Event:
    return Event(
        action=action,
        outcome="success",
        actor=actor,
        targets=[incident.target],
        context=context,
        changes=changes or [],
        metadata=metadata or {},
        # Keys of the tenant read its events: what a person did, from which address and session, is not theirs to read.
        tenant=incident.tenant if actor.type == "api_key" else None,
    )


def _checked(field: str, value: Any) -> Any:
    match field:
        case "title":
            return _line(field, value, TITLE_MAX)
        case "description":
            return _text(field, value)
        case "severity":
            return _choice(field, value, Severity.values)
        case "status":
            return _choice(field, value, Status.values)
    return value


def _told(field: str, value: Any) -> Any:
    """A field's value as an event tells it: an account by its e-mail address."""
    return value.email if field == "assignee" and value is not None else value


def _assignable(assignee: User | None) -> User | None:
    if assignee is not None and not assignee.is_active:
        raise InvalidInput("This account is switched off.", path="assignee")
    return assignee


def _choice(field: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise InvalidInput(f"must be one of {', '.join(choices)}", path=field)
    return value


def _line(field: str, text: str, chars_max: int) -> str:
    text = text.strip()
    if not 0 < len(text) <= chars_max:
        raise InvalidInput(f"must have 1 to {chars_max} characters", path=field)
    if any(_is_control(char) for char in text):
        raise InvalidInput("must be one line without control characters", path=field)
    return text


def _text(field: str, text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    if len(text) > TEXT_MAX:
        raise InvalidInput(f"must have {TEXT_MAX:,} characters at most", path=field)
    if any(_is_control(char) and char not in "\n\t" for char in text):
        raise InvalidInput("must not have control characters", path=field)
    return text


def _is_control(char: str) -> bool:
    return ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0
