"""Make the files that were asked for: the work of the back process.

An export is a row that the back claims, a file written aside and renamed, and one transaction that marks it ready and
records it. Whatever is interrupted in between is done again: `requeue_interrupted` runs before the first look into the queue.
Where the end alone could not be written, the next look writes it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from django.db import DatabaseError, transaction
from django.db.models import F, QuerySet
from django.utils.timezone import now as utc_now

from opssentinal.errors import OpsSentinalError, Overloaded, Unavailable
from opssentinal.exports.models import Export, exports_folder, this_server
from opssentinal.exports.requesters import may_still_be_made
from opssentinal.exports.services import downloaded
from opssentinal.ledger.recording import recording
from opssentinal.search.answers import Exported, Format
from opssentinal.search.client import search
from opssentinal.workspace.preferences import preferences

# An export that took the whole process down with it twice is not tried for ever.
ATTEMPTS_MAX = 3
REPORT_S = 0.5

_log = logging.getLogger(__name__)

T = TypeVar("T")

# What is still to be written of exports that have ended; they are running until then.
_unwritten: deque[Callable[[], object]] = deque()


class _Cancelled(Exception):
    """Somebody cancelled the export while it was being made."""


class _PutBack(Exception):
    """The back stops; the export waits for its next start."""


def requeue_interrupted(now: datetime | None = None) -> int:
    """Put this server's exports that a stopped process left half made back in the queue; return how many.

    Once in a back, before it makes any. What another server on the same database is making is not touched.
    """
    for path in exports_folder().glob("*.partial*"):
        path.unlink(missing_ok=True)
    requeued = 0
    for export in Export.objects.filter(status=Export.Status.RUNNING, server=this_server()):
        if export.attempts >= ATTEMPTS_MAX:
            _fail(export, f"The file could not be finished in {export.attempts} attempts.", now or utc_now())
        else:
            requeued += _move(export, Export.Status.RUNNING, status=Export.Status.QUEUED, rows_done=0)
    return requeued


def run_queued_exports(stop: threading.Event | None = None, clock: Callable[[], datetime] = utc_now) -> int:
    """Make every waiting export, oldest first; return how many ended. Several threads may call it at once.

    While search is away, being rebuilt, busy, or not as far as an export's head, exports wait: a file without some of its
    events would look like a whole one. `stop` ends the work at once; the export in hand is put back.
    """
    ended = 0
    for _ in range(len(_unwritten)):
        _end(_unwritten.popleft())
        ended += 1
    while not (stop is not None and stop.is_set()):
        waiting = Export.objects.filter(status=Export.Status.QUEUED, server=this_server())
        if not waiting.exists():
            break
        export = _claim(waiting.filter(head__lte=_reach()))
        if export is None:
            break
        if not may_still_be_made(export):
            _end(partial(_cancel_ended, export, clock()))
        elif not _make(export, stop, clock):
            break
        ended += 1
    return ended


def _reach() -> int:
    """How many events of the ledger search has; -1 while it does not answer or is being rebuilt."""
    try:
        status = search().status()
    except (Unavailable, Overloaded):
        return -1
    return -1 if status.rebuilding else status.position


def _claim(waiting: QuerySet[Export]) -> Export | None:
    """Take the oldest of the waiting exports; None if there is none."""
    while (export := waiting.order_by("id").first()) is not None:
        if _move(export, Export.Status.QUEUED, status=Export.Status.RUNNING, attempts=F("attempts") + 1):
            export.refresh_from_db()
            return export
    return None


def _make(export: Export, stop: threading.Event | None, clock: Callable[[], datetime]) -> bool:
    """Make the file of a claimed export; False if it was put back into the queue."""
    # A name of its own for each attempt: what a withdrawn one still cleans up is not this one's.
    unfinished = export.path.with_name(f"{export.path.name}.{export.attempts}.partial")
    try:
        _estimate(export)
        made = search().export(
            export.filter,
            export.head,
            cast(Format, export.format),
            unfinished,
            bom=export.bom,
            progress=_progress(export, stop),
        )
        _keep(unfinished, export.path)
    except _PutBack:
        return False
    except _Cancelled:
        _log.info("export %s was cancelled", export.public_id)
    except Exception as error:  # noqa: BLE001 - logged, and told in the row
        # Whatever it is: the row says so, and nobody waits for ever.
        _log.exception("export %s could not be made", export.public_id)
        if isinstance(error, Unavailable) and error.code == "rebuilding":
            # The index went away under it, which may have been its doing: that is not tried for ever.
            if export.attempts < ATTEMPTS_MAX:
                return not _end(partial(_put_back, export, has_counted=True))
        elif isinstance(error, Overloaded) or (isinstance(error, Unavailable) and _reach() < export.head):
            # Not the export's fault: search itself went away, or has no place for it now.
            return not _end(partial(_put_back, export))
        export.path.unlink(missing_ok=True)
        _end(partial(_fail, export, _reason(error), clock()))
    else:
        _end(partial(_ready, export, made, clock()))
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def _put_back(export: Export, *, has_counted: bool = False) -> int:
    """Queue a claimed export again, as if nothing had been unless the attempt `has_counted`; 0 if it was cancelled meanwhile."""
    attempts = export.attempts if has_counted else max(export.attempts - 1, 0)
    return _move(export, Export.Status.RUNNING, status=Export.Status.QUEUED, attempts=attempts, rows_done=0)


def _estimate(export: Export) -> None:
    """Fill `rows_total`; a progress bar without an end is better than no export, so a count that is too slow is let go."""
    try:
        total = search().extent(export.filter, head=export.head).count
    except (Unavailable, Overloaded):
        return
    _move(export, Export.Status.RUNNING, rows_total=total)


def _progress(export: Export, stop: threading.Event | None) -> Callable[[int], None]:
    """Note the rows done, at most every REPORT_S; raises _Cancelled if somebody cancelled it, _PutBack if the back stops."""
    last = time.monotonic()

    def report(rows: int) -> None:
        nonlocal last
        if stop is not None and stop.is_set():
            _put_back(export)
            raise _PutBack
        if time.monotonic() - last < REPORT_S:
            return
        last = time.monotonic()
        if not _move(export, Export.Status.RUNNING, rows_done=rows):
            raise _Cancelled

    return report


def _keep(unfinished: Path, path: Path) -> None:
    """Give the finished file its name; it is on disk, whole and private, before the row says so."""
    unfinished.chmod(0o600)
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the name too
    finally:
        os.close(folder)


def _reason(error: Exception) -> str:
    """What to tell who asked for the file; where it lies, and what else the system or the database said, is in the log."""
    if isinstance(error, OSError):
        return f"The file cannot be written: {error.strerror}."
    if isinstance(error, DatabaseError):
        return "The database could not be written while the file was made."
    return str(error) or type(error).__name__


def _end(write: Callable[[], T]) -> T:
    """Write how an export ended, with its record. Where neither is taken now, that is kept for the next look."""
    try:
        return write()
    except (DatabaseError, OpsSentinalError):
        _unwritten.append(write)
        raise


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
    if not changed:
        # Cancelled in the last moment, and recorded as that; or written already, where the answer to the commit was lost.
        export.refresh_from_db()
        if export.status != Export.Status.READY:
            export.path.unlink(missing_ok=True)


def _cancel_ended(export: Export, now: datetime) -> None:
    """Cancel a claimed export of whom the log is no longer for."""
    with recording() as record:
        if _move(export, Export.Status.RUNNING, status=Export.Status.CANCELLED, finished_at=now):
            reason = "account_ended"
            record(downloaded(export, "created", export.actor, export.context, outcome="failure", reason=reason))


def _fail(export: Export, error: str, now: datetime) -> None:
    with recording() as record:
        if _move(export, Export.Status.RUNNING, status=Export.Status.FAILED, error=error, finished_at=now):
            record(downloaded(export, "created", export.actor, export.context, outcome="failure", reason=error))


def _move(export: Export, expected: str, **fields: object) -> int:
    """Change the row if it still has the expected status; of several who try, one succeeds."""
    with transaction.atomic():
        return Export.objects.filter(pk=export.pk, status=expected).update(**fields)
