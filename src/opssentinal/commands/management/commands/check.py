"""`opssentinal check`: the settings in force, and whether everything they name can be used."""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from opssentinal.commands.console import json_line
from opssentinal.config import PREFIX
from opssentinal.errors import OpsSentinalError
from opssentinal.ledger.reader import head
from opssentinal.search.client import search


class Finding(NamedTuple):
    """What one look found. A `note` is nothing wrong by itself, such as a server that is not running."""

    subject: str
    state: Literal["ok", "note", "failed"]
    detail: str


class Command(BaseCommand):
    """Ends with 0 if nothing failed, else with 1. A setting that cannot be read ends it with 78, as it does any command."""

    help = (
        "Show every setting in force, secrets hidden, and whether the data directory, database and search can be used."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print everything as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = [_looked(subject, look) for subject, look in _LOOKS.items()]
        shown = {PREFIX + name: value for name, value in settings.CONFIG.shown().items()}
        is_usable = all(finding.state != "failed" for finding in findings)
        if options["json"]:
            checks = [finding._asdict() for finding in findings]
            self.stdout.write(json_line({"usable": is_usable, "settings": shown, "checks": checks}))
        else:
            width = max(map(len, shown))
            for name, value in shown.items():
                self.stdout.write(f"{name:<{width}}  {value}".rstrip())
            self.stdout.write("")
            for finding in findings:
                self.stdout.write(f"{finding.state:<6}  {finding.subject}: {finding.detail}")
        if not is_usable:
            sys.exit(1)


def _looked(subject: str, look: Callable[[], tuple[Literal["ok", "note"], str]]) -> Finding:
    try:
        return Finding(subject, *look())
    except (OpsSentinalError, OSError, DatabaseError) as error:
        return Finding(subject, "failed", str(error).strip())


def _data_directory() -> tuple[Literal["ok", "note"], str]:
    folder = settings.CONFIG.data_dir
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".check-"):
        pass
    free = os.statvfs(folder)
    return "ok", f"{folder} can be written, {free.f_bavail * free.f_frsize / 2**30:,.1f} GiB free"


def _database() -> tuple[Literal["ok", "note"], str]:
    if connection.vendor == "sqlite" and not os.path.exists(connection.settings_dict["NAME"]):
        return "note", "there is no log yet; `opssentinal serve` makes it"
    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()" if connection.vendor == "sqlite" else "SHOW server_version")
        version = cursor.fetchone()[0]
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    named = f"{connection.display_name} {version}"
    if pending:
        return (
            "note",
            f"{named}; the tables are not those of this version: `opssentinal migrate` or `serve` sets them up",
        )
    return "ok", f"{named}, {head().size:,} entries"


def _search() -> tuple[Literal["ok", "note"], str]:
    try:
        status = search().status()
    except OpsSentinalError as error:
        return "note", str(error)
    if status.error:
        return "note", f"the index cannot be brought up to date at the moment: {status.error}"
    behind = status.ledger_size - status.position
    return "ok", f"{status.rows:,} events" + (f", {behind:,} behind the log" if behind else ", up to the log's head")


_LOOKS: dict[str, Callable[[], tuple[Literal["ok", "note"], str]]] = {
    "data directory": _data_directory,
    "database": _database,
    "search": _search,
}
