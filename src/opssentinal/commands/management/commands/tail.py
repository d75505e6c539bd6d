"""`opssentinal tail`: the end of the log, read from the ledger itself, with or without a running server."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from opssentinal.commands.console import stdout_console
from opssentinal.commands.filtering import add_zone_option, at_least_one, zone_of
from opssentinal.commands.recorded import record_view
from opssentinal.commands.rendering import show
from opssentinal.ledger import reader

_LOOK_S = 0.5


class Command(BaseCommand):
    """The newest events in the order in which they were recorded, and with -f those to come, until interrupted."""

    help = (
        "Show the newest events in the order in which the log recorded them, the last at the bottom. "
        "It reads the log itself, so it works while the server is stopped."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("-n", "--limit", type=at_least_one, default=20, help="how many; default: 20")
        parser.add_argument("-f", "--follow", action="store_true", help="go on with the events that arrive")
        parser.add_argument("--json", action="store_true", help="print each event as a line of JSON")
        add_zone_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        console, tz = stdout_console(), zone_of(options)
        size = (
            reader.head().size
        )  # before the record of this look, which would else be the newest event of a plain tail
        record_view("tail")
        newest = reader.newest(options["limit"], before_seq=size)
        show(reversed(newest), console, tz, is_json=options["json"], as_lines=True)
        while options["follow"]:
            arrived = False
            for bundle in reader.bundles_after(size):
                if not bundle.is_pruned:
                    show(bundle.events(), console, tz, is_json=options["json"], as_lines=True)
                size, arrived = bundle.end_seq, True
            if not arrived:
                time.sleep(_LOOK_S)
