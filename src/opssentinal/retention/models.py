"""What retention did and when, and what is to change about it.

One row per run, failed ones included, so that nobody has to guess whether it works.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models


class RetentionRun(models.Model):
    """One run of the audit retention or of the standard cleanup.

    Never finished means that the process was stopped in between. Audit runs fill `events`, `minimum_index` and `held` (the
    events below the minimum index that still have their text), cleanup runs `counts`: what was deleted, by its name.
    """

    class Kind(models.TextChoices):
        """The two never touch each other's things."""

        AUDIT = "audit", "Audit retention"
        CLEANUP = "cleanup", "Standard cleanup"

    kind = models.CharField(max_length=16, choices=Kind.choices)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    retention_days = models.PositiveIntegerField(null=True)
    events = models.BigIntegerField(default=0)
    minimum_index = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)
    counts = models.JSONField(default=dict)
    error = models.TextField(blank=True)

    class Meta:
        """Newest first."""

        ordering = ("-id",)
        indexes = (models.Index(fields=["kind", "-id"], name="retentionrun_kind"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def succeeded(self) -> bool:
        """Whether it came to its end."""
        return self.finished_at is not None and not self.error


class LastLook(models.Model):
    """One row: what the wall clock said when retention last looked and believed it (`retention.clock`)."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}"


class ScheduledChange(models.Model):
    """A weaker safeguard or the release of a hold that waits for its cool-down. The row goes when it takes effect or is cancelled: the log has both."""

    field = models.CharField(max_length=64, unique=True)  # a name of Preferences, or `hold_7`
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    approved_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    takes_effect_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.field} {self.after} from {self.takes_effect_at:%Y-%m-%d %H:%M}"


class LegalHold(models.Model):
    """Events that retention leaves alone until the hold is released. The row stays as the list of what was held when.

    `query` is what was written, `filter` what it meant at that moment, as `Filter.to_json` writes it: times are absolute.
    """

    name = models.CharField(max_length=100)
    reason = models.TextField(max_length=1000)
    query = models.TextField()
    filter = models.TextField()
    placed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    placed_at = models.DateTimeField()
    released_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    released_at = models.DateTimeField(null=True)

    class Meta:
        """Newest first."""

        ordering = ("-id",)

    def __str__(self) -> str:
        return self.name
