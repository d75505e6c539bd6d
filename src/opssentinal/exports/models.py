"""The exports that were asked for: one row each, which outlives its file, since who took what out of the log matters.

The person is a snapshot and no foreign key: deleting or renaming the account changes nothing here.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

import msgspec
from django.conf import settings
from django.db import models

from opssentinal.events.model import Actor, Context
from opssentinal.events.sentences import display_name
from opssentinal.instance import server_id
from opssentinal.query import Filter

FORMATS = ("csv", "jsonl", "parquet")


def new_public_id() -> str:
    """An id that names an export in addresses and cannot be guessed: 128 random bits."""
    return f"exp_{secrets.token_hex(16)}"


class Export(models.Model):
    """A file made from the log: what was asked for, by whom, how far it is, and what came out."""

    class Status(models.TextChoices):
        """queued → running → ready → expired; or failed, or cancelled."""

        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Running"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        EXPIRED = "expired", "Expired"

    class Format(models.TextChoices):
        """The kinds of file."""

        CSV = "csv", "CSV"
        JSONL = "jsonl", "JSONL"
        PARQUET = "parquet", "Parquet"

    public_id = models.CharField(max_length=40, unique=True, default=new_public_id, editable=False)
    principal = models.CharField(max_length=320, db_index=True)  # such as user:7, api_key:k4fQ2mXw
    server = models.CharField(max_length=32, default="", editable=False)  # which one makes the file and holds it
    actor_json = models.TextField()
    context_json = models.TextField()
    filter_json = models.TextField()  # canonical, as Filter.to_json writes it
    query = models.TextField(blank=True)  # the same for people, with the times of `tz`
    tz = models.CharField(max_length=64, default="UTC")
    format = models.CharField(max_length=16, choices=Format.choices)
    bom = models.BooleanField(default=False)
    head = models.BigIntegerField()  # events in the ledger at the click; later ones are not in the file
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    rows_done = models.BigIntegerField(default=0)
    rows_total = models.BigIntegerField(null=True)  # an estimate while running
    rows = models.BigIntegerField(null=True)
    bytes = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    file_name = models.CharField(max_length=128)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        """Newest first; the queue is found by status."""

        ordering = ("-id",)
        indexes = (models.Index(fields=["status", "id"], name="export_status"),)

    def __str__(self) -> str:
        return f"{self.public_id} ({self.status})"

    @property
    def actor(self) -> Actor:
        """Who asked for it, as they were called then."""
        return msgspec.json.decode(self.actor_json, type=Actor)

    @property
    def context(self) -> Context:
        """From where it was asked for."""
        return msgspec.json.decode(self.context_json, type=Context)

    @property
    def filter(self) -> Filter:
        """Which events are in it."""
        return Filter.from_json(self.filter_json)

    @property
    def path(self) -> Path:
        """The file in the data directory, named by the public id so that no name from outside reaches the disk."""
        return exports_folder() / f"{self.public_id}.{self.format}"

    @property
    def is_open(self) -> bool:
        """Whether it is still on its way."""
        return self.status in (self.Status.QUEUED, self.Status.RUNNING)

    @property
    def actor_name(self) -> str:
        """What to call who asked for it."""
        return display_name(self.actor)

    @property
    def rows_shown(self) -> int:
        """Rows done, never more than the estimate of all."""
        return self.rows_done if self.rows_total is None else min(self.rows_done, self.rows_total)

    def is_fetchable(self, now: datetime) -> bool:
        """Whether the file may be fetched at `now`."""
        return self.status == self.Status.READY and (self.expires_at is None or now < self.expires_at)


def exports_folder() -> Path:
    """Where the files are, for the owner of the process alone."""
    folder = Path(settings.CONFIG.data_dir) / "exports"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def this_server() -> str:
    """The name of the server that makes and holds the files of this data directory."""
    return server_id(Path(settings.CONFIG.data_dir))
