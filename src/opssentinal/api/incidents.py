"""Incidents over HTTP: list, open, read, change, note, attach. A key bound to a tenant knows the incidents of that tenant.

Reading one is recorded as incident.viewed before the answer leaves, with the key as the actor; lists, and the answers to
changes, hold what the list of the page shows.
"""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from msgspec import UNSET, structs
from ninja import Router

from opssentinal.api import incident_shapes as shapes
from opssentinal.api.authorization import Scope, key_context, principal_of
from opssentinal.api.bodies import body_of
from opssentinal.api.document import described, json_body
from opssentinal.api.events import event_for
from opssentinal.api.parameters import CURSOR, LIMIT, Param, number, one, refuse_unknown
from opssentinal.api.responses import json_response
from opssentinal.apikeys.principal import EVENTS_READ, INCIDENTS_READ, INCIDENTS_WRITE, KeyPrincipal
from opssentinal.errors import Forbidden, InvalidCursor, InvalidInput, NotFound
from opssentinal.events.model import RecordedEvent
from opssentinal.incidents import listing, services
from opssentinal.incidents.models import (
    REQUEST_KEY_MAX,
    TITLE_MAX,
    AttachedEvent,
    Incident,
    Note,
    Origin,
    Severity,
    Signed,
    Status,
)
from opssentinal.workspace.models import User

router = Router(tags=["Incidents"])

STATUS = Param("status", "Only incidents of this status.", {"type": "string", "enum": Status.values})
SEVERITY = Param("severity", "Only incidents of this severity.", {"type": "string", "enum": Severity.values})
TITLE = Param("q", "Only incidents whose title has this text.", {"type": "string", "maxLength": TITLE_MAX})
_FILTERS = (STATUS, SEVERITY, TITLE)
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A name of your choice for this request. Sent again under it, the same request opens no second incident.",
    "schema": {"type": "string", "maxLength": REQUEST_KEY_MAX},
}
# Attaching shows what an event says to everybody who reads the incident: for keys that may read events.
_reads_events = Scope(EVENTS_READ, counts_requests=False)


@router.get(
    "/incidents",
    auth=Scope(INCIDENTS_READ),
    operation_id="listIncidents",
    summary="List incidents",
    openapi_extra=described(
        {200: ("Incidents, newest first.", shapes.IncidentPage)},
        parameters=[param.documented() for param in (*_FILTERS, LIMIT, CURSOR)],
    ),
)
def list_incidents(request: HttpRequest) -> HttpResponse:
    """The incidents without descriptions, notes and timelines. Not recorded."""
    refuse_unknown(request, [param.name for param in (*_FILTERS, LIMIT, CURSOR)])
    wanted = listing.Wanted(status=_choice(request, STATUS), severity=_choice(request, SEVERITY), text=_text(request))
    incidents = listing.matching(services.incidents_of(principal_of(request).tenant), wanted)
    page = listing.page_of(incidents, _below(request), number(request, LIMIT) or 0)
    following = None if page.older is None else str(page.older)
    answer = shapes.IncidentPage([_item(each) for each in page.incidents], following, following is not None)
    return json_response(answer)


@router.post(
    "/incidents",
    auth=Scope(INCIDENTS_WRITE),
    operation_id="createIncident",
    summary="Open an incident",
    openapi_extra=described(
        {
            201: ("The incident is open; its address is in the header Location.", shapes.IncidentItem),
            200: ("The same request has opened it before.", shapes.IncidentItem),
        },
        parameters=[_IDEMPOTENCY],
        body=json_body(shapes.IncidentRequest, slow={"title": "Checkout is slow", "severity": "high"}),
        errors=(404, 409, 413, 415),
        leads_to={"number=number": ("getIncident", "updateIncident", "createIncidentNote", "attachIncidentEvents")},
    ),
)
def create_incident(request: HttpRequest) -> HttpResponse:
    """Open an incident, with events on its timeline if the key also has the scope `events:read`. Recorded as
    incident.created.
    """
    refuse_unknown(request, ())
    principal = principal_of(request)
    asked = body_of(request, shapes.IncidentRequest)
    if principal.tenant is not None and asked.tenant not in (None, principal.tenant):
        raise Forbidden(f"The API key {principal.id} is bound to another tenant.", code="wrong_tenant")
    assignee = None if asked.assignee is None else _assignee(principal, asked.assignee)
    services.OPENED.take(principal.id)
    opened = services.open_incident(
        principal.actor(),
        key_context(request),
        title=asked.title,
        severity=asked.severity,
        origin=Origin.API,
        description=asked.description,
        assignee=assignee,
        tenant=principal.tenant or asked.tenant,
        events=_events(request, principal, asked.events),
        request_key=request.headers.get("Idempotency-Key"),
    )
    response = json_response(_item(opened.incident), 201 if opened.is_new else 200)
    response.headers["Location"] = f"{request.path}/{opened.incident.number}"
    return response


@router.get(
    "/incidents/{number}",
    auth=Scope(INCIDENTS_READ),
    operation_id="getIncident",
    summary="Get an incident",
    openapi_extra=described({200: ("The incident.", shapes.IncidentDetail)}, errors=(404,)),
)
def get_incident(request: HttpRequest, number: str) -> HttpResponse:
    """An incident in full. Recorded as incident.viewed before the answer leaves; 503 `not_recorded` where it cannot be."""
    refuse_unknown(request, ())
    principal = principal_of(request)
    incident = services.view_incident(principal.actor(), key_context(request), _number(number), tenant=principal.tenant)
    detail = shapes.IncidentDetail(
        **structs.asdict(_item(incident)),
        description=incident.description,
        timeline=[_event(each) for each in incident.attached.all()],
        notes=[_note(each) for each in incident.notes.all()],
    )
    return json_response(detail)


@router.patch(
    "/incidents/{number}",
    auth=Scope(INCIDENTS_WRITE),
    operation_id="updateIncident",
    summary="Change an incident",
    openapi_extra=described(
        {200: ("The incident, changed.", shapes.IncidentItem)},
        body=json_body(shapes.IncidentPatch, resolve={"status": "resolved", "version": 3}),
        errors=(404, 409, 413, 415),
    ),
)
def update_incident(request: HttpRequest, number: str) -> HttpResponse:
    """Change some fields. Recorded as incident.updated with before and after. 409 `incident_changed` if somebody has changed
    it since `version`.
    """
    refuse_unknown(request, ())
    principal = principal_of(request)
    asked = body_of(request, shapes.IncidentPatch)
    changes: dict[str, Any] = {name: value for name in services.FIELDS if (value := getattr(asked, name)) is not UNSET}
    if "assignee" in changes:
        changes["assignee"] = _assignee(principal, changes["assignee"])
    incident = services.update_incident(
        principal.actor(),
        key_context(request),
        _number(number),
        changes,
        version=None if asked.version is UNSET else asked.version,
        tenant=principal.tenant,
    )
    return json_response(_item(incident))


@router.post(
    "/incidents/{number}/notes",
    auth=Scope(INCIDENTS_WRITE),
    operation_id="createIncidentNote",
    summary="Add a note",
    openapi_extra=described(
        {201: ("The note.", shapes.IncidentNote)},
        body=json_body(shapes.NoteRequest, rollback={"text": "Rolled back to 2.4.1."}),
        errors=(404, 409, 413, 415),
    ),
)
def create_note(request: HttpRequest, number: str) -> HttpResponse:
    """Add a note, which nobody can change. Recorded as incident.updated."""
    refuse_unknown(request, ())
    principal = principal_of(request)
    text = body_of(request, shapes.NoteRequest).text
    note = services.add_note(principal.actor(), key_context(request), _number(number), text, tenant=principal.tenant)
    return json_response(_note(note), 201)


@router.post(
    "/incidents/{number}/events",
    auth=Scope(INCIDENTS_WRITE),
    operation_id="attachIncidentEvents",
    summary="Attach events",
    openapi_extra=described(
        {200: ("The events that were not on the timeline yet.", shapes.IncidentEvents)},
        body=json_body(shapes.AttachRequest, two={"events": ["41", "0193a4c2-0f6e-7d43-b6a5-5d2f8a1c9e10"]}),
        errors=(404, 409, 413, 415),
    ),
)
def attach_events(request: HttpRequest, number: str) -> HttpResponse:
    """Put audit events on the timeline, named by id or seq. Needs the scope `events:read` too. Recorded as incident.updated."""
    refuse_unknown(request, ())
    principal = principal_of(request)
    events = _events(request, principal, body_of(request, shapes.AttachRequest).events)
    attached = services.attach_events(
        principal.actor(), key_context(request), _number(number), events, tenant=principal.tenant
    )
    return json_response(shapes.IncidentEvents([_event(each) for each in attached]))


def _events(request: HttpRequest, principal: KeyPrincipal, names: list[str]) -> list[RecordedEvent]:
    """The events that are named, for a key that may read them."""
    if not names:
        return []
    _reads_events(request)
    return list({event.seq: event for event in (event_for(principal, name) for name in names)}.values())


def _assignee(principal: KeyPrincipal, email: str | None) -> User | None:
    """The account to give an incident to, if any.

    Not for a tenant's key: the answer would tell it whose addresses are accounts, and the event whose incident it was.
    """
    if principal.tenant is not None:
        raise Forbidden("A key that is bound to a tenant cannot choose an assignee.", code="assignee_not_allowed")
    return None if email is None else services.assignee_by_email(email)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise NotFound("There is no such incident.", hint="Ask by number, such as 42.")
    return int(text)


def _below(request: HttpRequest) -> int | None:
    text = one(request, CURSOR)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= services.NUMBER_MAX):
        raise InvalidCursor("The cursor is not one of this list.", hint="Begin anew without one.")
    return int(text)


def _choice(request: HttpRequest, param: Param) -> str:
    value = one(request, param) or ""
    if value and value not in param.schema["enum"]:
        raise InvalidInput(f"must be one of {', '.join(param.schema['enum'])}", path=param.name)
    return value


def _text(request: HttpRequest) -> str:
    text = one(request, TITLE) or ""
    if len(text) > TITLE_MAX or "\0" in text:
        raise InvalidInput(f"must be a text of {TITLE_MAX} characters at most", path=TITLE.name)
    return text


def _item(incident: Incident) -> shapes.IncidentItem:
    assignee = incident.assignee
    return shapes.IncidentItem(
        id=incident.public_id,
        number=incident.number,
        title=incident.title,
        severity=cast(shapes.Severity, incident.severity),
        status=cast(shapes.Status, incident.status),
        assignee=shapes.Person(type="user", id=f"user_{assignee.pk}", name=str(assignee)) if assignee else None,
        tenant=incident.tenant,
        origin=cast(Any, incident.origin),
        opened_by=_person(incident),
        created_at=incident.created_at,
        updated_at=incident.updated_at,
        closed_at=incident.closed_at,
        version=incident.version,
    )


def _note(note: Note) -> shapes.IncidentNote:
    return shapes.IncidentNote(author=_person(note), created_at=note.created_at, text=note.text)


def _event(event: AttachedEvent) -> shapes.IncidentEvent:
    return shapes.IncidentEvent(
        seq=event.seq,
        id=event.event_id,
        action=event.action,
        outcome=event.outcome,
        occurred_at=event.occurred_at,
        sentence=event.sentence,
        attached_by=_person(event),
        attached_at=event.created_at,
    )


def _person(signed: Signed) -> shapes.Person:
    return shapes.Person(type=signed.by_type, id=signed.by_id, name=signed.by_name)
