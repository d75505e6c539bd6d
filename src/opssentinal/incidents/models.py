"""Incidents, their notes, and the audit events attached to them.

People and keys who opened, noted or attached are snapshots and no foreign keys: renaming an account changes nothing here.
An attached event is a snapshot too, so that the timeline stays readable when retention has taken the event's text away.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from opssentinal.events.model import Actor, Target
from opssentinal.events.sentences import visible

TITLE_MAX = 200
# Before and after stand in one event together, which may have 64 KiB.
TEXT_MAX = 5_000
TENANT_MAX = 128
REQUEST_KEY_MAX = 255
ID_PREFIX = "incident_"
_NAME_MAX = 256


class Severity(models.TextChoices):
    """How bad it is."""

    CRITICAL = "critical", "Critical"
    HIGH = "high", "High"
    MEDIUM = "medium", "Medium"
    LOW = "low", "Low"


class Status(models.TextChoices):
    """How far it is: noticed, somebody works on it, the cause is gone, nothing is left to do."""

    OPEN = "open", "Open"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    RESOLVED = "resolved", "Resolved"
    CLOSED = "closed", "Closed"


class Origin(models.TextChoices):
    """What opened it."""

    MANUAL = "manual", "by hand"
    API = "api", "through the API"
    ALERT_RULE = "alert_rule", "by an alert rule"


class Signed(models.Model):
    """Who did it, as they were called then, and when."""

    by_type = models.CharField(max_length=64)
    by_id = models.CharField(max_length=_NAME_MAX)
    by_name = models.CharField(max_length=320)
    created_at = models.DateTimeField()

    class Meta:
        """No table of its own."""

        abstract = True

    def sign(self, actor: Actor) -> None:
        """Note who it is."""
        self.by_type, self.by_id, self.by_name = actor.type, actor.id, actor.name or actor.email or actor.id

    @property
    def by_shown(self) -> str:
        """What to call them, safe to show."""
        return visible(self.by_name)


class Incident(Signed):
    """Something that needs somebody's attention. `number` is what people call it; `version` counts changes of its fields."""

    number = models.PositiveIntegerField(primary_key=True)
    tenant = models.CharField(max_length=TENANT_MAX, null=True, blank=True)  # null: of none; no tenant is ""
    title = models.CharField(max_length=TITLE_MAX)
    description = models.TextField(blank=True, default="")
    severity = models.CharField(max_length=16, choices=Severity.choices)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.OPEN)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    origin = models.CharField(max_length=16, choices=Origin.choices)
    version = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    # What a caller named its request, so that sending it again opens no second incident, and the digest of what it said.
    request_key = models.CharField(max_length=REQUEST_KEY_MAX, null=True, blank=True)
    request_sha256 = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        """Newest first; no request makes two."""

        ordering: ClassVar = ["-number"]
        indexes: ClassVar = [models.Index(fields=["status", "-number"], name="incident_status")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["by_type", "by_id", "request_key"], name="incident_request_key"),
            models.CheckConstraint(condition=models.Q(severity__in=Severity.values), name="incident_severity"),
            models.CheckConstraint(condition=models.Q(status__in=Status.values), name="incident_status_known"),
            models.CheckConstraint(condition=models.Q(origin__in=Origin.values), name="incident_origin"),
        ]

    def __str__(self) -> str:
        return f"#{self.number} {self.title}"

    @property
    def public_id(self) -> str:
        """What events call it: `incident_42`."""
        return f"{ID_PREFIX}{self.number}"

    @property
    def target(self) -> Target:
        """The incident as an event's target."""
        return Target(type="incident", id=self.public_id, name=self.title)

    @property
    def title_shown(self) -> str:
        """The title, safe to show."""
        return visible(self.title)

    @property
    def tenant_shown(self) -> str:
        """The tenant, safe to show; callers name it as freely as in an event."""
        return visible(self.tenant or "")

    @property
    def description_shown(self) -> str:
        """The description, safe to show."""
        return text_shown(self.description)


class Note(Signed):
    """What somebody wrote about an incident. Notes are added, never changed."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="notes")
    text = models.TextField()

    class Meta:
        """As they were written."""

        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return self.text[:60]

    @property
    def text_shown(self) -> str:
        """The text, safe to show."""
        return text_shown(self.text)


class AttachedEvent(Signed):
    """An audit event on an incident's timeline: where it stands in the log, and what it said when it was attached."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="attached")
    seq = models.BigIntegerField(db_index=True)
    event_id = models.UUIDField()
    action = models.CharField(max_length=128)
    outcome = models.CharField(max_length=16)
    occurred_at = models.DateTimeField()
    actor_id = models.CharField(max_length=_NAME_MAX, blank=True, default="")
    sentence = models.TextField()

    class Meta:
        """In order of time; an event is on a timeline once."""

        ordering: ClassVar = ["occurred_at", "seq"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["incident", "seq"], name="incident_event_once")]

    def __str__(self) -> str:
        return self.sentence


class Counter(models.Model):
    """The one row that gives out numbers: without gaps, and none a second time after its incident has been deleted."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last = models.PositiveIntegerField(default=0)

    class Meta:
        """One row at most."""

        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(id=1), name="incident_counter_single")]

    def __str__(self) -> str:
        return str(self.last)


def text_shown(text: str) -> str:
    """Text of several lines, safe to show: what could turn the reading direction is spelled out."""
    return "\n".join(visible(line.expandtabs(4)) for line in text.split("\n"))
