"""`opssentinal demo`: a data directory full of invented events, to see what the product is like in use."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand

from opssentinal.commands.console import json_line, progress
from opssentinal.commands.demo_incidents import add_incidents
from opssentinal.demo import filling


class Command(BaseCommand):
    """Fills `./demo-data`, or the folder that OPSSENTINAL_DATA_DIR names; run again, it only prints the login."""

    help = (
        "Fill a data directory of its own (./demo-data) with 90 days of an invented company's events and print a login. "
        "It refuses a directory with real accounts or events; interrupted and run again, it goes on where it was."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=_days, default=filling.DAYS, help="days that end now, 1 to 365; default: 90")
        parser.add_argument("--seed", type=int, default=1, help="another number makes another company; default: 1")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with progress("Inventing", options["days"]) as bar:
            done = filling.fill(
                settings.CONFIG,
                seed=options["seed"],
                days=options["days"],
                furnish=add_incidents,
                progress=lambda count, total: bar.update(bar.task_ids[0], completed=count, total=total),
            )
        where = settings.CONFIG.data_dir
        if options["json"]:
            self.stdout.write(json_line(msgspec.to_builtins(done) | {"data_dir": str(where)}))
            return
        if done.appended:
            self.stdout.write(f"{where} has {done.size:,} invented events now ({done.seconds:.0f} s).")
        else:
            self.stdout.write(f"{where} is a demo already, with {done.size:,} events.")
        self.stdout.write(f"Sign in as {done.email} with the password {done.password}")


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 365:
        raise ArgumentTypeError(f"{text!r} is no number of days from 1 to 365")
    return int(text)
