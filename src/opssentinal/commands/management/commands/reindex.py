"""`opssentinal reindex`: the search index built again from the log."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from opssentinal.commands.console import progress
from opssentinal.ledger.reader import head
from opssentinal.search.client import search


class Command(BaseCommand):
    """Asks the running server for it and waits."""

    help = (
        "Build the search index again from the log. The running server does it, and searches go on meanwhile; nothing "
        "is lost by it, since the index holds nothing that the log does not."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with progress("Indexing", head().size) as bar:
            search().reindex(lambda done, total: bar.update(bar.task_ids[0], completed=done, total=total))
        self.stdout.write(f"The search index holds {search().status().rows:,} events.")
