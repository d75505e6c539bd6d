"""`opssentinal import`: events from files into the log, while the server runs or not."""  # noqa: N999

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from opssentinal.commands.console import complain, json_line, progress
from opssentinal.errors import InvalidInput
from opssentinal.events.model import SOURCE_PATTERN
from opssentinal.imports.formats import FORMATS
from opssentinal.imports.importing import REASONS_MAX, Import
from opssentinal.imports.reading import STDIN, find_files, read_records, shown
from opssentinal.workspace.principals import os_actor


class Command(BaseCommand):
    """Reads files, reports each record that was not taken, and ends with 1 if there was one."""

    help = (
        "Read events from files into the log. Running it again adds none that has an id: events are recognised by it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("format", choices=FORMATS, help="what the files hold: CloudTrail records or our own events")
        parser.add_argument("path", nargs="+", help="files, folders with all files below them, or - for standard input")
        parser.add_argument("--source", help="record the events under this source instead of their own")
        parser.add_argument("--tenant", help="record the events under this tenant instead of their own")
        parser.add_argument("--dry-run", action="store_true", help="read and check everything, write nothing")
        parser.add_argument("--json", action="store_true", help="print the summary as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        _check_names(options["source"], options["tenant"])
        files = find_files(options["path"])
        reported = 0

        def report(place: str, reason: str) -> None:
            nonlocal reported
            reported += 1
            if reported <= REASONS_MAX:
                complain(f"{place}: {reason}")
            elif reported == REASONS_MAX + 1:
                complain("… further ones are only counted")

        run = Import(
            FORMATS[options["format"]],
            source=options["source"],
            tenant=options["tenant"],
            is_dry_run=options["dry_run"],
            refused=report,
        )
        sizes = [None if str(path) == STDIN else path.stat().st_size for path in files]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        try:
            with progress("Importing", total, is_bytes=True) as bar:
                for path in files:
                    run.take(read_records(path, lambda count: bar.advance(bar.task_ids[0], count)))
                run.flush()
        finally:
            run.record(os_actor(), files=[shown(path.absolute() if str(path) != STDIN else path) for path in files])
        self._summarise(run, options)
        if not run.tally.is_clean:
            sys.exit(1)

    def _summarise(self, run: Import, options: dict[str, Any]) -> None:
        tally = run.tally
        if options["json"]:
            reasons = [{"place": place, "reason": reason} for place, reason in tally.reasons]
            self.stdout.write(json_line(tally.counts() | {"dry_run": options["dry_run"], "reasons": reasons}))
            return
        said = [f"{tally.accepted:,} {'would be ' if options['dry_run'] else ''}imported"]
        for count, words in (
            (tally.duplicates, "already there"),
            (tally.conflicts, "with the id of another event"),
            (tally.rejected, "rejected"),
        ):
            if count:
                said.append(f"{count:,} {words}")
        self.stdout.write(f"{tally.files:,} file{'s' if tally.files != 1 else ''}: {', '.join(said)}.")


def _check_names(source: str | None, tenant: str | None) -> None:
    if source is not None and (len(source) > 64 or not re.fullmatch(SOURCE_PATTERN, source)):
        raise InvalidInput(f"{source!r} is no source.", hint="Use lower-case letters, digits, dots and hyphens.")
    if tenant is not None and not (1 <= len(tenant) <= 128 and tenant.isprintable()):
        raise InvalidInput(f"{tenant!r} is no tenant.", hint="Use 1 to 128 characters that print.")
