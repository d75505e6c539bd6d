"""The JSON of incidents: what is asked, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from opssentinal.incidents.models import TENANT_MAX, TEXT_MAX, TITLE_MAX
from opssentinal.incidents.services import ATTACHED_AT_ONCE_MAX

Severity = Literal["critical", "high", "medium", "low"]
Status = Literal["open", "acknowledged", "resolved", "closed"]
Title = Annotated[str, Meta(min_length=1, max_length=TITLE_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Assignee = Annotated[str, Meta(max_length=254, description="the e-mail address of an active account")]
EventNames = Annotated[
    list[Annotated[str, Meta(max_length=36, description="an event's `id` or its `seq`")]],
    Meta(max_length=ATTACHED_AT_ONCE_MAX),
]


class IncidentRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The incident to open. A key that is bound to a tenant opens incidents of that tenant."""

    title: Title
    severity: Severity
    description: Text = ""
    assignee: Assignee | None = None
    tenant: Annotated[str, Meta(min_length=1, max_length=TENANT_MAX)] | None = None
    events: EventNames = []


class IncidentPatch(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields to change; what is absent stays. With `version`, only if nobody has changed a field since that one."""

    title: Title | UnsetType = UNSET
    severity: Severity | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    assignee: Assignee | None | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    version: Annotated[int, Meta(ge=1)] | UnsetType = UNSET


class NoteRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The note to add."""

    text: Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]


class AttachRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The events to attach."""

    events: Annotated[EventNames, Meta(min_length=1)]


class Person(Struct, kw_only=True):
    """Who it was, as they were called then: an account, an API key or an alert rule."""

    type: str
    id: str
    name: str


class IncidentItem(Struct, kw_only=True):
    """An incident as lists show it. Events call it `id`, people `#number`; `version` counts changes of its fields."""

    id: str
    number: int
    title: str
    severity: Severity
    status: Status
    assignee: Person | None
    tenant: str | None
    origin: Literal["manual", "api", "alert_rule"]
    opened_by: Person
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    version: int


class IncidentNote(Struct, kw_only=True):
    """A note; notes are added and never change."""

    author: Person
    created_at: datetime
    text: str


class IncidentEvent(Struct, kw_only=True):
    """An attached event as it read when it was attached. The log may have pruned the event itself since."""

    seq: int
    id: UUID
    action: str
    outcome: str
    occurred_at: datetime
    sentence: str
    attached_by: Person
    attached_at: datetime


class IncidentDetail(IncidentItem, kw_only=True):
    """An incident in full. The timeline is in order of occurrence, notes are in the order in which they were written."""

    description: str
    timeline: list[IncidentEvent]
    notes: list[IncidentNote]


class IncidentEvents(Struct):
    """The events that were not on the timeline yet."""

    data: list[IncidentEvent]


class IncidentPage(Struct):
    """Incidents, newest first."""

    data: list[IncidentItem]
    next_cursor: str | None
    has_more: bool
