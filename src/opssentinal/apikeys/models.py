"""The table of API keys; tokens themselves are never stored, only their SHA-256."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone


class APIKey(models.Model):
    """A program's key. Rows are never deleted, so that a public id found in an old event can always be looked up."""

    public_id = models.CharField(max_length=8, unique=True)
    token_sha256 = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    source = models.CharField(max_length=64)
    tenant = models.CharField(max_length=128, null=True, blank=True)  # null: not bound to one; no tenant is ""
    scopes = models.JSONField(default=list)
    networks = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_by_name = models.CharField(max_length=320, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """Newest first, as the page lists them."""

        ordering: ClassVar = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    @property
    def state(self) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= timezone.now() else "active"
