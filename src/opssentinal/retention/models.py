"""What retention did and when: one row per run, failed ones included, so that nobody has to guess whether it works."""

from __future__ import annotations

from django.db import models


class RetentionRun(models.Model):
    """One run of the audit retention or of the standard cleanup.

    Never finished means that the process was stopped in between. Audit runs fill `events` and `minimum_index`, cleanup
    runs `sessions` and `exports`.
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
    sessions = models.BigIntegerField(default=0)
    exports = models.BigIntegerField(default=0)
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
