"""`opssentinal tail`: the end of the log, read from the ledger itself, with or without a running server.

A query is asked of each event in turn (`formats.matching`), so it finds what `search` finds, in the order of the log. Where
it means few events, that would be reading all of the log, and a running server's search is asked for them instead.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from opssentinal.commands.console import complain, stdout_console
from opssentinal.commands.filtering import add_filter_options, at_least_one, filter_of, zone_of
from opssentinal.commands.recorded import record_view
from opssentinal.commands.rendering import show
from opssentinal.errors import Overloaded, Unavailable
from opssentinal.events.model import RecordedEvent
from opssentinal.formats.matching import matcher
from opssentinal.ledger import reader
from opssentinal.query import Filter
from opssentinal.search.client import PAGE_EVENTS_MAX, search

_LOOK_S = 0.5
_AT_ONCE = 1_000  # events that are looked through for those of a query
# Whoever follows waits for what is to come: about a second, without search, for what has been.
_FOLLOWED_BACK_MAX = 25_000


class Command(BaseCommand):
    """The newest events in the order in which they were recorded, and with -f those to come, until interrupted."""

    help = (
        "Show the newest events in the order in which the log recorded them, the last at the bottom. "
        "It reads the log itself, so it works while the server is stopped. With a query, the newest events that it means; "
        "to find those without a running server, the log is read from its end, as far back as it takes, and with -f for the "
        f"newest {_FOLLOWED_BACK_MAX:,} events."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_filter_options(parser)
        parser.add_argument("-n", "--limit", type=at_least_one, default=20, help="how many; default: 20")
        parser.add_argument("-f", "--follow", action="store_true", help="go on with the events that arrive")
        parser.add_argument("--json", action="store_true", help="print each event as a line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        console, tz = stdout_console(), zone_of(options)
        wanted = filter_of(options)
        is_meant = matcher(wanted)
        size = (
            reader.head().size
        )  # before the record of this look, which would else be the newest event of a plain tail
        record_view("tail")
        newest = _newest(options["limit"], size, wanted, is_following=options["follow"])
        show(reversed(newest), console, tz, is_json=options["json"], as_lines=True)
        while options["follow"]:
            arrived = False
            for bundle in reader.bundles_after(size):
                if not bundle.is_pruned:
                    show(filter(is_meant, bundle.events()), console, tz, is_json=options["json"], as_lines=True)
                size, arrived = bundle.end_seq, True
            if not arrived:
                time.sleep(_LOOK_S)


def _newest(limit: int, size: int, wanted: Filter, *, is_following: bool) -> list[RecordedEvent]:
    """The newest `limit` events below `size` that are meant, newest first."""
    if wanted == Filter():
        return reader.newest(limit, size)
    if (few := _found_by_search(wanted, size)) is not None:
        return few[:limit]
    found: list[RecordedEvent] = []
    below, scanned = size, 0
    while len(found) < limit and (portion := reader.newest(_AT_ONCE, below)):
        found += filter(matcher(wanted), portion)
        below, scanned = portion[-1].seq, scanned + len(portion)
        if is_following and scanned >= _FOLLOWED_BACK_MAX:
            complain(f"Older than the newest {scanned:,} events may be more.")
            break
    return found[:limit]


def _found_by_search(wanted: Filter, size: int) -> list[RecordedEvent] | None:
    """All events below `size` that are meant, newest first; None where they are not few, or search cannot say."""
    try:
        page = search().page(wanted, limit=PAGE_EVENTS_MAX, head=size)
    except (Unavailable, Overloaded):
        return None
    if not page.complete or page.next is not None:
        return None
    return sorted(page.events, key=lambda event: event.seq, reverse=True)  # a page is in the order of occurred_at
