"""The nightly work: prune audit events past their retention, and, apart from it, the standard cleanup.

The back asks `…_if_due` now and then; the commands run the same functions at once. Each run leaves a row, and a run that
removed events an event, even where it failed half way, and so does one that a person asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date, datetime

from django.db import DatabaseError, transaction
from django.db.models import F, Max
from django.utils.timezone import now as utc_now

from opssentinal.errors import OpsSentinalError
from opssentinal.events.model import Actor, Context, Event, Target, to_us
from opssentinal.ledger import held, pruning, reader
from opssentinal.ledger.recording import recording
from opssentinal.retention import changes, cleanup, clock, holds, policy
from opssentinal.retention.models import RetentionRun
from opssentinal.workspace.preferences import preferences

NIGHTLY_ACTOR = Actor(type="system", id="retention", name="Nightly retention")

_log = logging.getLogger(__name__)
# The day, by the clock that is not believed, on which this process last said so.
_warned_on: date | None = None


def prune_if_due(now: datetime | None = None) -> RetentionRun | None:
    """Run the audit retention if a night has passed since it last succeeded; return the run, or None if it is not due.

    Before that, scheduled changes of it take effect whose time has come. While the clock cannot be believed, neither.
    """
    now = now or utc_now()
    if not _is_believed(clock.look(now)):
        return None
    changes.apply_due(now)
    due = next_prune(now)
    return run_prune(NIGHTLY_ACTOR, now=now) if due is not None and due <= now else None


def cleanup_if_due(now: datetime | None = None) -> RetentionRun | None:
    """Run the standard cleanup if a night has passed since it last succeeded; return the run, or None if it is not due.

    Nor is it while the clock cannot be believed.
    """
    now = now or utc_now()
    if clock.leap(now) is not None:
        return None
    return run_cleanup(now=now) if next_cleanup(now) <= now else None


def _is_believed(leap: clock.Leap | None) -> bool:
    """Whether there is no leap; the server's log says when one begins, each day while it lasts, and when it is over."""
    global _warned_on
    today = None if leap is None else leap.now.date()
    if leap is not None and today != _warned_on:
        _log.warning("Retention waits. %s", leap)
    elif leap is None and _warned_on is not None:
        _log.warning("Retention goes on: the clock is believed again.")
    _warned_on = today
    return leap is None


def next_prune(now: datetime) -> datetime | None:
    """When the audit retention runs next, or None while events are kept for ever; past or now means at once."""
    if preferences().audit_retention_days is None:
        return None
    return _next(RetentionRun.Kind.AUDIT, now)


def next_cleanup(now: datetime) -> datetime:
    """When the standard cleanup runs next; past or now means at once."""
    return _next(RetentionRun.Kind.CLEANUP, now)


def last_run(kind: str) -> RetentionRun | None:
    """The run of this kind that began last, however it ended."""
    return RetentionRun.objects.filter(kind=kind).first()


def _next(kind: str, now: datetime) -> datetime:
    # What ran under a clock that was ahead says nothing about tonight.
    runs = RetentionRun.objects.filter(kind=kind, started_at__lte=now)
    succeeded = runs.filter(finished_at__isnull=False, error="").first()
    tried = runs.first()
    return policy.next_due(now, succeeded.started_at if succeeded else None, tried.started_at if tried else None)


def run_prune(
    actor: Actor,
    context: Context | None = None,
    *,
    now: datetime | None = None,
    progress: Callable[[int], None] | None = None,
) -> RetentionRun:
    """Prune every event recorded longer ago than the configured retention, but those under a legal hold; return the run.

    Its `error` tells a failure: what has been pruned stays pruned if a later bundle fails. With a retention “for ever” it
    removes nothing, and while the clock cannot be believed it fails. `progress` is told the events done so far.
    """
    now = now or utc_now()
    days = preferences().audit_retention_days
    run = _begin(RetentionRun.Kind.AUDIT, now, retention_days=days)
    leap = clock.look(now)
    run.error = str(leap or "")
    try:
        if days is not None and leap is None:
            pruning.prune(lambda: _cutoff_us(now, days), holds=holds.filters_in_force, progress=progress)
    except (OpsSentinalError, DatabaseError) as error:
        _log.exception("pruning failed")
        run.error = str(error)
    _account(run, actor, context or Context())
    return run


def _cutoff_us(now: datetime, days: int) -> int | None:
    """The cut-off of a run that began with `days`. A retention lengthened meanwhile counts; a shorter one, the next time."""
    chosen = preferences().audit_retention_days
    return None if chosen is None else to_us(policy.cutoff(now, max(days, chosen)))


def _account(run: RetentionRun, actor: Actor, context: Context) -> None:
    """End the run and record what it removed, in one transaction.

    Pruning commits bundle by bundle, so the count is how many events below the minimum index have lost their text (all but
    the held ones) since that was last accounted for: if a process is killed between the two, its events are in the count of
    the next run, and no event goes unrecorded.
    """
    runs = RetentionRun.objects.filter(kind=RetentionRun.Kind.AUDIT).order_by("id")
    with recording() as record:
        runs.select_for_update().first()  # whoever accounts at the same moment, on another server, waits here
        accounted = (
            runs.filter(finished_at__isnull=False).aggregate(gone=Max(F("minimum_index") - F("held")))["gone"] or 0
        )
        run.minimum_index, run.held = reader.head().minimum_index, held.totals().events
        run.events = run.minimum_index - run.held - accounted
        run.finished_at = max(utc_now(), run.started_at)
        run.save()
        if run.events or actor != NIGHTLY_ACTOR:
            metadata = {"events": run.events, "minimum_index": run.minimum_index, "retention_days": run.retention_days}
            if run.held:
                metadata["held"] = run.held
            record(
                Event(
                    action="retention.pruned",
                    outcome="failure" if run.error else "success",
                    actor=actor,
                    context=context,
                    targets=[Target(type="audit_log", id="audit_log", name=f"{run.events:,} events")],
                    metadata=metadata | ({"error": run.error[:1000]} if run.error else {}),
                )
            )


def run_cleanup(actor: Actor | None = None, *, now: datetime | None = None) -> RetentionRun:
    """Run the standard cleanup; return the run, whose `error` tells a failure.

    A run that a person asked for, the `actor`, is recorded as cleanup.finished; the nightly one leaves its row alone.
    """
    now = now or utc_now()
    run = _begin(RetentionRun.Kind.CLEANUP, now)
    leap = clock.look(now)
    run.error = str(leap or "")
    try:
        if leap is None:
            cleanup.clean(now, run.counts)
    except (OpsSentinalError, DatabaseError, OSError) as error:
        _log.exception("the standard cleanup failed")
        run.error = str(error)
    run.finished_at = max(utc_now(), now)
    with recording() as record:
        run.save()
        if actor is not None:
            record(_cleaned(run, actor))
    return run


def _cleaned(run: RetentionRun, actor: Actor) -> Event:
    return Event(
        action="cleanup.finished",
        outcome="failure" if run.error else "success",
        actor=actor,
        targets=[Target(type="cleanup", id="cleanup", name="Standard cleanup")],
        metadata=run.counts | ({"error": run.error[:1000]} if run.error else {}),
    )


def _begin(kind: str, now: datetime, **fields: object) -> RetentionRun:
    with transaction.atomic():  # a statement on its own would not wait its turn among the writers
        return RetentionRun.objects.create(kind=kind, started_at=now, **fields)
