"""`opssentinal fsck`: whether the log is what it says it is."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.management.base import BaseCommand

from opssentinal.commands.console import json_line, progress
from opssentinal.commands.recorded import record_verification
from opssentinal.errors import IntegrityError
from opssentinal.events.sentences import visible
from opssentinal.ledger.fsck import fsck


class Command(BaseCommand):
    """Derives everything again and compares; ends with 0 if all agrees, else with IntegrityError's status, 70.

    That it was done, and what came of it, is recorded afterwards.
    """

    help = (
        "Derive every leaf hash, tile and root of the log again from its text and compare them with what is stored. "
        "It repairs nothing, and may run beside the server; events recorded meanwhile are not looked at."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with progress("Checking", None) as bar:
            report = fsck(lambda done, total: bar.update(bar.task_ids[0], completed=done, total=total))
        said = {name: getattr(report, name) for name in ("size", "unreadable", "pruned", "held", "bundles", "tiles")}
        record_verification(
            said | {"root": report.root.hex(), "problems": len(report.problems)}, is_clean=report.is_clean
        )
        if options["json"]:
            facts = msgspec.to_builtins(report) | {"root": report.root.hex(), "is_clean": report.is_clean}
            self.stdout.write(json_line(facts))
        else:
            for problem in report.problems:
                self.stdout.write(visible(problem))
            held = f" but for {report.held:,} under legal hold" if report.held else ""
            pruned = f", {report.pruned:,} of them pruned{held}" if report.pruned else ""
            verdict = "The log is whole" if report.is_clean else f"{len(report.problems):,} problems were found"
            self.stdout.write(
                f"{verdict}: {report.size:,} entries{pruned}, {report.bundles:,} bundles, {report.tiles:,} tiles."
            )
            if report.is_clean and report.size:
                self.stdout.write(f"Root hash {report.root.hex()}")
        if not report.is_clean:
            sys.exit(IntegrityError.exit_code)
