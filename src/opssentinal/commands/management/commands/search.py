"""`opssentinal search`: the events of a query, asked of the running server's search."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand

from opssentinal.commands.console import complain, stdout_console
from opssentinal.commands.filtering import add_filter_options, at_least_one, filter_of, zone_of
from opssentinal.commands.recorded import record_view
from opssentinal.commands.rendering import show
from opssentinal.query import Filter
from opssentinal.search.client import Order, Page, search

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
        wanted, console, tz = filter_of(options), stdout_console(), zone_of(options)
        pages = _pages(wanted, options["limit"], "oldest" if options["oldest"] else "newest")
        if console.is_terminal and not options["json"]:
            # One table, so that its columns are of one width.
            pages = iter([_joined(list(pages))])
        count, is_complete = 0, True
        page = None
        for page in pages:
            is_complete = is_complete and page.complete
            if not count:
                record_view("search")  # the pages are fixed at the head of the first, so this is not in them
            count += len(page.events)
            if page.events:
                show(page.events, console, tz, is_json=options["json"])
        if not is_complete:
            complain("The search index lacks the newest events: there may be more.")
        elif page is not None and page.next is not None:
            complain(f"Only the first {count:,} are shown: raise --limit, or write all with `opssentinal export`.")
        elif not count and console.is_terminal:
            complain("No event matches.")


def _joined(pages: list[Page]) -> Page:
    is_complete = all(page.complete for page in pages)
    return Page([event for page in pages for event in page.events], pages[-1].next, pages[-1].head, is_complete)


def _pages(wanted: Filter, limit: int, order: Order) -> Iterator[Page]:
    """At least one page, and pages up to `limit` events, all fixed at the head of the first."""
    after, head = None, None
    while True:
        page = search().page(wanted, limit=min(limit, _PAGE), after=after, order=order, head=head)
        yield page
        limit -= len(page.events)
        after, head = page.next, page.head
        if after is None or limit <= 0:
            return
