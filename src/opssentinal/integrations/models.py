"""The integrations and their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.utils import timezone

from opssentinal.query import Filter, parse

NAME_MAX = 100
URL_MAX = 2_000
BATCH_EVENTS_MAX = 500


class Integration(models.Model):
    """A destination that follows the log.

    `position` is the seq of the first event that is not done: every event below it was delivered, or is not meant by the
    query. It moves in the transaction that ends a delivery, and never past one that did not arrive.
    """

    class Kind(models.TextChoices):
        """What kind of destination it is."""

        WEBHOOK = "webhook", "Webhook"

    class Pause(models.TextChoices):
        """Why nothing is sent."""

        ADMIN = "admin", "Paused by an admin"
        FAILING = "failing", "Kept failing"
        GONE = "gone", "Does not want any more"
        REFUSED = "refused", "Address refused"
        GAP = "gap", "Events are gone"
        SECRET = "secret", "Secret unreadable"

    public_id = models.CharField(max_length=16, unique=True)
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.WEBHOOK)
    name = models.CharField(max_length=NAME_MAX)
    url = models.CharField(max_length=URL_MAX)
    query = models.TextField(default="", blank=True)  # canonical text of the query language; empty: every event
    batch_events_max = models.PositiveSmallIntegerField(default=100)
    created_at = models.DateTimeField(default=timezone.now)
    created_by_name = models.CharField(max_length=320, default="")

    secret = models.TextField()  # what `encryption.encrypt` made of it, the old one likewise
    secret_version = models.PositiveIntegerField(default=1)
    old_secret = models.TextField(default="", blank=True)
    old_secret_until = models.DateTimeField(null=True, blank=True)

    position = models.BigIntegerField()
    last_delivered_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(null=True, blank=True)  # null: as soon as there is something
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_code = models.CharField(max_length=16, choices=Pause.choices, default="", blank=True)
    paused_reason = models.TextField(default="", blank=True)

    # Which back process works on it now, and until when nobody else may.
    lease_owner = models.CharField(max_length=64, default="", blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        """Newest first."""

        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return self.name

    @property
    def filter(self) -> Filter:
        """Which events it is sent."""
        return parse(self.query)

    @property
    def is_paused(self) -> bool:
        """Whether nothing is sent until an admin resumes it."""
        return self.paused_at is not None

    @property
    def state(self) -> str:
        """`paused`, `failing` or `active`."""
        return "paused" if self.is_paused else "failing" if self.failing_since else "active"

    def is_old_secret_in_use(self, now: datetime) -> bool:
        """Whether the secret before this one still signs too."""
        return self.old_secret_until is not None and now < self.old_secret_until


class Delivery(models.Model):
    """Events on their way to a destination, tried until it takes them; its webhook-id stays the same meanwhile.

    `seqs` are the events in it. It covers the log from `first_seq` to before `end_seq`, where the position goes once it has
    arrived; events between that the query does not mean are not in it.
    """

    class Kind(models.TextChoices):
        """What was sent."""

        EVENTS = "events", "Events"
        TEST = "test", "Test"

    class Status(models.TextChoices):
        """Where it stands; only a pending one will be tried again."""

        PENDING = "pending", "Pending"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"
        WITHDRAWN = "withdrawn", "Withdrawn"

    integration = models.ForeignKey(Integration, on_delete=models.CASCADE, related_name="deliveries")
    webhook_id = models.CharField(max_length=40, unique=True)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.EVENTS)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PENDING)
    first_seq = models.BigIntegerField()
    end_seq = models.BigIntegerField()
    seqs = models.JSONField(default=list)
    created_at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    attempted_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Of the last attempt: the HTTP status and the beginning of the answer, or why there was none.
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    response = models.TextField(default="", blank=True)
    error = models.TextField(default="", blank=True)

    class Meta:
        """Newest first. One at a time is pending, which is what keeps the order."""

        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["integration", "-id"]), models.Index(fields=["finished_at"])]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["integration"], condition=models.Q(status="pending"), name="integrations_one_pending"
            )
        ]

    def __str__(self) -> str:
        return self.webhook_id

    @property
    def count(self) -> int:
        """How many events are in it."""
        return len(self.seqs)

    @property
    def last_seq(self) -> int:
        """The last event in it; there is one, unless it is a test."""
        return int(self.seqs[-1])
