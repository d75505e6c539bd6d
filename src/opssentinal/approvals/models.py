"""The request for a second admin's approval: what is to happen, who asked, and who decided."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class Approval(models.Model):
    """One request. `payload` is what the executor of its `kind` needs, as JSON; `title` says it to people,
    and `detail` what whoever decides should know.

    Of one kind and `subject` only one request waits at a time. Rows stay: they are the list of what was decided.
    """

    class State(models.TextChoices):
        """Waiting is the only state that changes."""

        WAITING = "waiting", "Waiting"
        GRANTED = "granted", "Approved"
        REJECTED = "rejected", "Rejected"
        WITHDRAWN = "withdrawn", "Withdrawn"
        EXPIRED = "expired", "Expired"

    kind = models.CharField(max_length=64)
    subject = models.CharField(max_length=128, blank=True)
    title = models.CharField(max_length=256)
    detail = models.TextField(blank=True)
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        """Newest first."""

        ordering = ("-id",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=("kind", "subject"), condition=models.Q(state="waiting"), name="approvals_approval_one_waiting"
            )
        ]

    def __str__(self) -> str:
        return self.title


class AdminTerm(models.Model):
    """Since when an account is an admin who can sign in, and until when; kept by `terms` whenever the account changes.

    `until` is null for good; it may lie ahead, where the account has an end. `let_in_at` is when somebody last gave the
    account a new way in: a link to set a password, made or used, another address or identity, or a second factor taken away.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="admin_term")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    let_in_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.user} since {self.since:%Y-%m-%d %H:%M}"
