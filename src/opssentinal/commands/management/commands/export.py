"""`opssentinal export`: the events of a query as a file, through the same job as the page's, recorded in the same way."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandParser
from rich.progress import Progress, TaskID

from opssentinal.commands.console import json_line, progress
from opssentinal.commands.filtering import add_filter_options, filter_of
from opssentinal.errors import Conflict, IntegrityError, InvalidInput, Unavailable
from opssentinal.events.model import Context
from opssentinal.exports import services
from opssentinal.exports.models import FORMATS, Export
from opssentinal.exports.services import Principal
from opssentinal.search.client import search
from opssentinal.workspace.principals import os_actor

_COPY_BYTES = 1 << 20
# The server may be restarting; after this long without an answer it is not.
_SILENCE_S_MAX = 10.0
_LOOK_S = 0.5


class Command(BaseCommand):
    """Asks the running server for an export, waits for it and fetches it; both are recorded with the OS user as actor."""

    help = (
        "Write the events of a query to a file. The server makes it and must be running; later events are not in it. "
        "Making and fetching it are recorded as export.downloaded."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The filter's options are those of `search`."""
        add_filter_options(parser)
        parser.add_argument("--format", choices=FORMATS, help="default: by the name of the output, else csv")
        parser.add_argument("--bom", action="store_true", help="begin a CSV with a byte order mark, which Excel wants")
        parser.add_argument(
            "-o",
            "--output",
            metavar="FILE",
            help="file to write, or - for standard output; default: a name with the time",
        )
        parser.add_argument("--json", action="store_true", help="print the summary as JSON")

    def handle(self, *, format: str | None, bom: bool, output: str | None, **options: Any) -> None:
        """Raises Unavailable if no server runs, InvalidQuery, and what else keeps the file from being made."""
        format = format or _format_of(output)
        if output == "-" and sys.stdout.isatty():
            # A file holds what events hold, control characters included, and a terminal would obey them.
            raise InvalidInput(
                "An export is not for a terminal.",
                hint="Redirect it, or use --output FILE; `opssentinal search` shows events.",
            )
        _require_folder(output)
        filter = filter_of(options)
        search().status()  # before the export is made and recorded, not after
        actor, principal = os_actor(), Principal("os_user", os_actor().id)
        export = services.create_export(actor, Context(), principal, filter, format, bom=bom, tz=options["tz"])
        export = self._made(export, principal)
        export, file = services.open_export(principal, export.public_id, actor, Context())
        with file:
            written = _write(file, export, output)
        self._tell(export, written, as_json=options["json"])

    def _made(self, export: Export, principal: Principal) -> Export:
        try:
            with progress("Exporting", None) as bar:
                _wait(export, bar)
        except (KeyboardInterrupt, Unavailable):
            with suppress(Conflict):  # it has just ended by itself
                services.cancel_export(principal, export.public_id, os_actor(), Context())
            raise
        if export.status == Export.Status.CANCELLED:
            raise Conflict("The export was cancelled.")
        if export.status != Export.Status.READY:
            raise Unavailable(f"The export failed: {export.error}", permanent=True)
        return export

    def _tell(self, export: Export, written: str, *, as_json: bool) -> None:
        out = self.stderr if written == "-" else self.stdout
        if as_json:
            summary = {
                "id": export.public_id,
                "output": written,
                "format": export.format,
                "rows": export.rows,
                "bytes": export.bytes,
                "sha256": export.sha256,
                "query": export.query,
                "head": export.head,
            }
            out.write(json_line(summary), style_func=str)
        else:
            out.write(
                f"{export.rows:,} events, {export.bytes:,} bytes → {'standard output' if written == '-' else written}\n"
                f"SHA-256 {export.sha256}",
                style_func=str,
            )


def _format_of(output: str | None) -> str:
    suffix = Path(output or "").suffix.lower().removeprefix(".")
    return {"ndjson": "jsonl"}.get(suffix, suffix if suffix in FORMATS else "csv")


def _require_folder(output: str | None) -> None:
    """Before the export is made and recorded, not after."""
    if output not in (None, "-") and not Path(output or "").absolute().parent.is_dir():
        raise InvalidInput(f"There is no folder {Path(output or '').absolute().parent}.", path="--output")


def _wait(export: Export, bar: Progress) -> None:
    """Wait for the end of the export, however long it takes, as long as the server is there."""
    answered = time.monotonic()
    while export.is_open:
        services.wait_for(export, _LOOK_S)
        bar.update(TaskID(0), completed=export.rows_shown, total=export.rows_total)
        try:
            search().status()
            answered = time.monotonic()
        except Unavailable as error:
            if time.monotonic() - answered > _SILENCE_S_MAX:
                raise Unavailable("The server stopped while the export was being made.") from error


def _write(file: BinaryIO, export: Export, output: str | None) -> str:
    """Copy the file to where it belongs, checking it on the way; return the name written. A file appears whole or not."""
    if output == "-":
        _copy(file, sys.stdout.buffer, export)
        return "-"
    path = Path(output or export.file_name)
    partial = path.with_name(f".{path.name}.{export.public_id}")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as to:
            _copy(file, to, export)
        partial.replace(path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}.", permanent=True) from error
    finally:
        partial.unlink(missing_ok=True)
    return str(path)


def _copy(file: BinaryIO, to: BinaryIO, export: Export) -> None:
    digest = hashlib.sha256()
    while chunk := file.read(_COPY_BYTES):
        digest.update(chunk)
        to.write(chunk)
    to.flush()
    if digest.hexdigest() != export.sha256:
        raise IntegrityError("The file is not the one that was exported: its SHA-256 differs.", hint="Export again.")
