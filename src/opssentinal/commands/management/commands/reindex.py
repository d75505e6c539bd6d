"""`opssentinal reindex`: the search index built again from the log."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from opssentinal.commands.console import json_line, progress
from opssentinal.commands.recorded import record_reindex
from opssentinal.ledger.reader import head
from opssentinal.search.client import search


class Command(BaseCommand):
    """Asks the running server for it and waits."""

    help = (
        "Build the search index again from the log. The running server does it, and searches go on meanwhile; nothing "
        "is lost by it, since the index holds nothing that the log does not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        search().status()  # raises Unavailable where there is no server to do it, and so nothing to record
        try:
            with progress("Indexing", head().size) as bar:
                search().reindex(lambda done, total: bar.update(bar.task_ids[0], completed=done, total=total))
        except BaseException as error:  # also where somebody no longer waits for it
            record_reindex(
                "unknown" if isinstance(error, KeyboardInterrupt) else "failure", {"error": str(error)[:1000]}
            )
            raise
        rows = search().status().rows
        record_reindex("success", {"rows": rows})
        self.stdout.write(json_line({"rows": rows}) if options["json"] else f"The search index holds {rows:,} events.")
