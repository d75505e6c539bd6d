"""`opssentinal cleanup`: run the standard cleanup now, or only say what it would delete."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.timezone import now as utc_now

from opssentinal.commands.console import json_line
from opssentinal.errors import Unavailable
from opssentinal.retention import cleanup, jobs
from opssentinal.workspace.principals import os_actor


class Command(BaseCommand):
    """Removes what the workspace leaves behind. It cannot touch an audit event."""

    help = (
        "Remove expired sessions, the files of old exports, and old deliveries and incidents, as the server does every "
        "night by itself. "
        "Audit events are not part of it: they have a retention of their own (opssentinal prune)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How old is old is set in Settings → Data Retention."""
        parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        """Raises Unavailable if the run fails."""
        if dry_run:
            counts = cleanup.preview(utc_now())
        else:
            run = jobs.run_cleanup(os_actor())
            if run.error:
                raise Unavailable(f"The cleanup failed: {run.error}")
            counts = run.counts
        if options["json"]:
            self.stdout.write(json_line({"dry_run": dry_run} | counts))
        else:
            self.stdout.write(f"{'Would delete' if dry_run else 'Deleted'} {cleanup.counts_text(counts)}.")
