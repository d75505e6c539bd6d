"""`opssentinal search`: the events of a query, asked of the running server's search."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand

from opssentinal.commands.console import complain, stdout_console
from opssentinal.commands.filtering import add_filter_options, at_least_one, filter_of, zone_of
from opssentinal.commands.rendering import show
from opssentinal.events.model import RecordedEvent
from opssentinal.query import Filter
from opssentinal.search.client import search

_PAGE = 500


class Command(BaseCommand):
    """A table on a terminal, tab-separated lines in a pipe, JSON lines with --json."""

    help = (
        "Find events with a query, newest first. The terms are those of the query bar (docs/guide/query.md); the options "
        "mean the same and must hold besides it. Search is part of the server, which must be running."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_filter_options(parser)
        parser.add_argument("-n", "--limit", type=at_least_one, default=50, help="how many at most; default: 50")
        parser.add_argument("--oldest", action="store_true", help="oldest first")
        parser.add_argument("--json", action="store_true", help="print each event as a line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted, console = filter_of(options), stdout_console()
        pages = _pages(wanted, options["limit"], "oldest" if options["oldest"] else "newest")
        count, has_more = 0, False
        if console.is_terminal and not options["json"]:
            # One table, so that its columns are of one width.
            events: list[RecordedEvent] = []
            for page, has_more in pages:
                events += page
            count = len(events)
            if events:
                show(events, console, zone_of(options), is_json=False)
        else:
            for page, has_more in pages:
                show(page, console, zone_of(options), is_json=options["json"])
                count += len(page)
        if console.is_terminal and not count:
            complain("No event matches.")
        if has_more:
            complain(
                f"There are more than these {count:,}: raise --limit, or write them all with `opssentinal export`."
            )


def _pages(wanted: Filter, limit: int, order: Any) -> Iterator[tuple[list[RecordedEvent], bool]]:
    """The events page by page, fixed at the head of the first, each with whether there are more after it."""
    after, head = None, None
    while limit > 0:
        page = search().page(wanted, limit=min(limit, _PAGE), after=after, order=order, head=head)
        limit -= len(page.events)
        after, head = page.next, page.head
        yield page.events, after is not None
        if after is None:
            return
