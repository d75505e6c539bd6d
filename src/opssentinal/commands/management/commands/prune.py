"""`opssentinal prune`: run the audit retention now, or only say what it would remove."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.timezone import now as utc_now
from rich.progress import TaskID

from opssentinal.commands.console import json_line, progress
from opssentinal.errors import Unavailable
from opssentinal.events.model import Context, from_us, to_us
from opssentinal.ledger import pruning
from opssentinal.retention import clock, holds, jobs, policy
from opssentinal.workspace.preferences import preferences
from opssentinal.workspace.principals import os_actor


class Command(BaseCommand):
    """Removes the text of events recorded longer ago than Settings → Data Retention says; recorded as retention.pruned."""

    help = (
        "Remove the text of events that were recorded longer ago than the audit retention set in Settings → Data "
        "Retention and are under no legal hold. Their hashes stay, so the log still verifies. The server does this every "
        "night by itself. A shorter retention that waits for its cool-down does not count yet."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Nothing to aim with: the retention is a setting, whose changes are recorded."""
        either = parser.add_mutually_exclusive_group()
        either.add_argument("--dry-run", action="store_true", help="only say how many events would go")
        either.add_argument(
            "--clock-is-right",
            action="store_true",
            help="confirm the server's clock where it leapt ahead and retention waits for that; recorded",
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *, dry_run: bool, **options: Any) -> None:
        """Raises Unavailable if the run fails; what it removed until then is recorded. Conflict if no clock waits."""
        now, days = utc_now(), preferences().audit_retention_days
        if options["clock_is_right"]:
            clock.confirm(now, os_actor(), Context(), now)
        result: dict[str, Any] = {"dry_run": dry_run, "retention_days": days, "events": 0}
        expected = None if days is None else pruning.preview(to_us(policy.cutoff(now, days)))
        if dry_run:
            if expected is not None:
                oldest = None if expected.oldest_us is None else from_us(expected.oldest_us).isoformat()
                result |= {"events": expected.events, "minimum_index": expected.minimum_index, "oldest": oldest}
        else:
            with progress("Pruning", expected.events if expected else 0) as bar:
                run = jobs.run_prune(
                    os_actor(), now=now, progress=lambda events: bar.update(TaskID(0), completed=events)
                )
            if run.error:
                raise Unavailable(f"Pruning failed after {run.events:,} events: {run.error}")
            result |= {"events": run.events, "minimum_index": run.minimum_index}
        if options["json"]:
            self.stdout.write(json_line(result))
            return
        kept = "for ever" if days is None else f"for {policy.days_text(days)}"
        did = "would be removed" if dry_run else "removed"
        held = ", less those under legal hold" if dry_run and holds.in_force() else ""
        self.stdout.write(f"Audit events are kept {kept}: the text of {result['events']:,} events {did}{held}.")
        if leap := clock.leap(now):
            self.stdout.write(str(leap))
