"""`opssentinal cleanup`: run the standard cleanup now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from opssentinal.commands.console import json_line
from opssentinal.errors import Unavailable
from opssentinal.retention import jobs
from opssentinal.workspace.principals import os_actor


class Command(BaseCommand):
    """Removes expired sessions and the files of old exports. It cannot touch an audit event."""

    help = (
        "Remove expired sessions and the files of old exports, as the server does every night by itself. "
        "Audit events are not part of it: they have a retention of their own (opssentinal prune)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How old is old is set in Settings → Data Retention."""
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, **options: Any) -> None:
        """Raises Unavailable if the run fails."""
        run = jobs.run_cleanup(os_actor())
        if run.error:
            raise Unavailable(f"The cleanup failed: {run.error}")
        if options["json"]:
            self.stdout.write(json_line({"sessions": run.sessions, "exports": run.exports}))
        else:
            self.stdout.write(f"Removed {run.sessions:,} expired sessions and {run.exports:,} files of exports.")
