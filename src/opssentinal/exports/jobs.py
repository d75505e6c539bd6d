"""Make the files that were asked for: the work of the back process.

An export is a row that the back claims, a file written aside and renamed, and one transaction that marks it ready and
records it. Whatever is interrupted in between is done again: `requeue_interrupted` runs at the start of the back.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from django.db import DatabaseError, transaction
from django.db.models import F
from django.utils.timezone import now as utc_now

from opssentinal.errors import OpsSentinalError, Unavailable
from opssentinal.exports.models import Export, exports_folder
from opssentinal.exports.services import downloaded
from opssentinal.ledger.recording import recording
from opssentinal.search.client import Exported, search
from opssentinal.workspace.preferences import preferences

# An export that took the whole process down with it twice is not tried for ever.
ATTEMPTS_MAX = 3
REPORT_S = 0.5

_log = logging.getLogger(__name__)
_OPEN = (Export.Status.QUEUED, Export.Status.RUNNING)


class _Cancelled(Exception):
    """Somebody cancelled the export while it was being made."""


def requeue_interrupted(now: datetime | None = None) -> int:
    """Put exports that a stopped process left half made back in the queue; return how many. At the start of the back."""
    for path in exports_folder().glob("*.partial"):
        path.unlink(missing_ok=True)
    requeued = 0
    for export in Export.objects.filter(status=Export.Status.RUNNING):
        if export.attempts >= ATTEMPTS_MAX:
            _fail(export, f"The server stopped {export.attempts} times while making this export.", now or utc_now())
        else:
            requeued += _move(export, Export.Status.RUNNING, status=Export.Status.QUEUED, rows_done=0)
    return requeued


def run_queued_exports(stop: threading.Event | None = None, clock: Callable[[], datetime] = utc_now) -> int:
    """Make every waiting export, oldest first; return how many ended. Several threads may call it at once.

    While search cannot answer, exports wait. `stop` ends the work after the export in hand, which is put back.
    """
    ended = 0
    while not (stop is not None and stop.is_set()):
        if not Export.objects.filter(status=Export.Status.QUEUED).exists() or not _search_answers():
            break
        export = _claim()
        if export is None:
            break
        _make(export, stop, clock)
        ended += 1
    return ended


def _search_answers() -> bool:
    try:
        return not search().status().rebuilding
    except Unavailable:
        return False


def _claim() -> Export | None:
    while (export := Export.objects.filter(status=Export.Status.QUEUED).order_by("id").first()) is not None:
        if _move(export, Export.Status.QUEUED, status=Export.Status.RUNNING, attempts=F("attempts") + 1):
            export.refresh_from_db()
            return export
    return None


def _make(export: Export, stop: threading.Event | None, clock: Callable[[], datetime]) -> None:
    partial = export.path.with_name(export.path.name + ".partial")
    try:
        _estimate(export)
        made = search().export(
            export.filter, export.head, export.format, partial, bom=export.bom, progress=_progress(export, stop)
        )
        _keep(partial, export.path)
        _ready(export, made, clock())
    except _Cancelled:
        _log.info("export %s stopped", export.public_id)
    except (OpsSentinalError, OSError, DatabaseError) as error:
        _log.exception("export %s failed", export.public_id)
        export.path.unlink(missing_ok=True)
        _fail(export, str(error), clock())
    finally:
        partial.unlink(missing_ok=True)


def _estimate(export: Export) -> None:
    """Fill `rows_total`; a progress bar without an end is better than no export, so that a slow count is let go."""
    try:
        total = search().extent(export.filter).count
    except Unavailable:
        return
    _move(export, Export.Status.RUNNING, rows_total=total)


def _progress(export: Export, stop: threading.Event | None) -> Callable[[int], None]:
    """Note the rows done, at most every REPORT_S; raises _Cancelled when the export was cancelled or the back stops."""
    last = time.monotonic()

    def report(rows: int) -> None:
        nonlocal last
        if stop is not None and stop.is_set():
            _move(export, Export.Status.RUNNING, status=Export.Status.QUEUED, attempts=F("attempts") - 1, rows_done=0)
            raise _Cancelled
        if time.monotonic() - last < REPORT_S:
            return
        last = time.monotonic()
        if not _move(export, Export.Status.RUNNING, rows_done=rows):
            raise _Cancelled

    return report


def _keep(partial: Path, path: Path) -> None:
    """Give the finished file its name; it is on disk, whole and private, before the row says so."""
    partial.chmod(0o600)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def _ready(export: Export, made: Exported, now: datetime) -> None:
    expires_at = now + timedelta(days=preferences().cleanup_exports_days)
    fields = {"rows": made.rows, "rows_done": made.rows, "bytes": made.bytes, "sha256": made.sha256}
    with recording() as record:
        changed = _move(
            export,
            Export.Status.RUNNING,
            status=Export.Status.READY,
            finished_at=now,
            expires_at=expires_at,
            **fields,
        )
        if changed:
            export.refresh_from_db()
            record(downloaded(export, "created", export.actor, export.context))
    if not changed:  # cancelled in the last moment, and recorded as that
        export.path.unlink(missing_ok=True)


def _fail(export: Export, error: str, now: datetime) -> None:
    with recording() as record:
        if _move(export, Export.Status.RUNNING, status=Export.Status.FAILED, error=error, finished_at=now):
            record(downloaded(export, "created", export.actor, export.context, outcome="failure", reason=error))


def _move(export: Export, expected: str, **fields: object) -> int:
    """Change the row if it still has the expected status; of several who try, one succeeds."""
    with transaction.atomic():
        return Export.objects.filter(pk=export.pk, status=expected).update(**fields)
