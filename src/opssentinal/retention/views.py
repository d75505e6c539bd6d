"""Settings → Data Retention: how long audit events are kept, and, plainly apart, the standard cleanup. For admins."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now as utc_now
from django.views.decorators.http import require_POST, require_safe

from opssentinal.approvals import services as approvals
from opssentinal.errors import Conflict, InvalidInput
from opssentinal.events.model import from_us, to_us
from opssentinal.ledger import held, pruning
from opssentinal.ledger.pruning import PruneReport
from opssentinal.retention import changes, cleanup, clock, holds, jobs, policy
from opssentinal.retention.forms import AuditRetentionForm, CleanupForm, ClockForm, SafeguardsForm
from opssentinal.retention.models import RetentionRun, ScheduledChange
from opssentinal.retention.scheduling import Result
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import Preferences, preferences, update_preferences
from opssentinal.workspace.principals import request_actor, request_context
from opssentinal.workspace.seen import require_seen
from opssentinal.workspace.settings_forms import SettingsForm

RUNS_SHOWN = 10


@admin_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The settings, what is scheduled, what the next run would remove, and the last runs."""
    return _page(request)


@admin_required
@require_POST
def update_audit(request: HttpRequest) -> HttpResponse:
    """Change the audit retention. Where it gets shorter and events would go, ask first and say how many."""
    chosen = preferences()
    form = AuditRetentionForm.showing(chosen.audit_retention_days, request.POST)
    if not form.is_valid():
        return _page(request, audit_form=form, status=400)
    if out_of_date := _refusal(request, form, chosen, [changes.RETENTION]):
        return out_of_date
    days = form.chosen_days
    if not form.cleaned_data["confirmed"] and changes.is_shorter(days, chosen.audit_retention_days):
        loss = _removed_by(days, utc_now())
        if loss is not None and loss.events:
            asking: dict[str, object] = {
                "days": days,
                "seen": form.version or "",
                "label": policy.days_text(days),
                "loss": loss,
                "oldest": _oldest(loss),
                "cooldown": chosen.retention_cooldown_hours,
                "needs_approval": approvals.are_needed(),
            }
            return _page(request, audit_form=form, asking=asking)
    return _choose(request, {changes.RETENTION: days})


@admin_required
@require_POST
def update_safeguards(request: HttpRequest) -> HttpResponse:
    """Change what a shorter retention has to wait for."""
    form = SafeguardsForm(request.POST)
    if not form.is_valid():
        return _page(request, safeguards_form=form, status=400)
    current = preferences()
    if out_of_date := _refusal(request, form, current, form.entered):
        return out_of_date
    return _choose(request, {name: value for name, value in form.entered.items() if value != getattr(current, name)})


@admin_required
@require_POST
def cancel_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Call off a change that waits for its cool-down."""
    change = ScheduledChange.objects.filter(pk=pk).first()
    if change is None:
        messages.info(request, "There is no change to cancel any more.")
        return redirect("retention:index")
    try:
        changes.cancel(change.field, request_actor(request), request_context(request))
    except Conflict as error:
        messages.info(request, str(error))
    else:
        messages.success(request, "Cancelled. What was in force stays so.")
    return redirect("retention:index")


@admin_required
@require_POST
def confirm_clock(request: HttpRequest) -> HttpResponse:
    """Believe the clock as the page showed it."""
    form = ClockForm(request.POST)
    if not form.is_valid():
        return _page(request, status=400)
    try:
        clock.confirm(form.cleaned_data["seen"], request_actor(request), request_context(request), utc_now())
    except Conflict as error:  # the clock has been set right meanwhile, or somebody else was first
        messages.info(request, str(error))
    else:
        messages.success(request, "Confirmed. Retention goes on within five minutes.")
    return redirect("retention:index")


@admin_required
@require_POST
def update_cleanup(request: HttpRequest) -> HttpResponse:
    """Set the standard cleanup's days."""
    form = CleanupForm(request.POST)
    if not form.is_valid():
        return _page(request, cleanup_form=form, status=400)
    try:
        update_preferences(
            request_actor(request), request_context(request), "cleanup", seen=form.version, **form.entered
        )
    except (InvalidInput, Conflict) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "Saved.")
    return redirect("retention:index")


_SAID = {
    Result.UNCHANGED: "Nothing to change.",
    Result.IN_FORCE: "Saved.",
    Result.SCHEDULED: "Scheduled. It takes effect after the cool-down and can be cancelled until then.",
    Result.ASKED: "Another admin has to approve this; it waits on the page Approvals.",
}


def _refusal(
    request: HttpRequest, form: SettingsForm, current: Preferences, fields: Iterable[str]
) -> HttpResponse | None:
    """Where to lead somebody whose page is out of date, None for whose is not.

    Without a lock: what a safeguard is changed from is looked at once more when it is weakened.
    """
    try:
        require_seen(form.version, {field: getattr(current, field) for field in fields})
    except Conflict as error:
        messages.error(request, str(error))
        return redirect("retention:index")
    return None


def _choose(request: HttpRequest, wanted: dict[str, Any]) -> HttpResponse:
    if not wanted:
        messages.success(request, _SAID[Result.UNCHANGED])
    # What is still in force protects what else is changed with it: the rule of the second admin goes last.
    for field, value in sorted(wanted.items(), key=lambda change: change[0] == changes.SECOND_ADMIN):
        try:
            result = changes.choose(cast(User, request.user), request_context(request), field, value)
        except (InvalidInput, Conflict) as error:
            messages.error(request, str(error))
        else:
            messages.success(request, _SAID[result])
    return redirect("retention:index")


def _removed_by(days: int | None, at: datetime) -> PruneReport | None:
    """What a run at that moment would remove of what is there; None for ever."""
    return None if days is None else pruning.preview(to_us(policy.cutoff(at, days)))


def _oldest(report: PruneReport | None) -> datetime | None:
    return None if report is None or report.oldest_us is None else from_us(report.oldest_us)


def _scheduled() -> list[dict[str, Any]]:
    """The changes that wait, and for a shorter retention what it will remove."""
    shown: list[dict[str, Any]] = []
    for change in changes.scheduled():
        loss = _removed_by(change.after, change.takes_effect_at) if change.field == changes.RETENTION else None
        shown.append({"change": change, "title": changes.title(change), "loss": loss, "oldest": _oldest(loss)})
    return shown


def _page(
    request: HttpRequest,
    audit_form: AuditRetentionForm | None = None,
    safeguards_form: SafeguardsForm | None = None,
    cleanup_form: CleanupForm | None = None,
    asking: dict[str, object] | None = None,
    status: int = 200,
) -> HttpResponse:
    now, chosen = utc_now(), preferences()
    next_prune, next_loss = jobs.next_prune(now), _removed_by(chosen.audit_retention_days, now)
    last_cleanup = jobs.last_run(RetentionRun.Kind.CLEANUP)
    shown = {
        "audit_form": audit_form or AuditRetentionForm.showing(chosen.audit_retention_days),
        "safeguards_form": safeguards_form or SafeguardsForm.showing(chosen),
        "cleanup_form": cleanup_form or CleanupForm.showing(chosen),
        "asking": asking,
        "leap": clock.leap(now),
        "scheduled": _scheduled(),
        "requests": approvals.waiting().filter(kind__in=(changes.APPROVAL_KIND, holds.APPROVAL_KIND)),
        "holds": holds.in_force(),
        "kept": held.totals().events,
        "retention": policy.days_text(chosen.audit_retention_days),
        "next_loss": next_loss,
        "next_oldest": _oldest(next_loss),
        "audit_next": next_prune,
        "audit_overdue": next_prune is not None and next_prune <= now,
        "audit_last": jobs.last_run(RetentionRun.Kind.AUDIT),
        "audit_runs": RetentionRun.objects.filter(kind=RetentionRun.Kind.AUDIT)[:RUNS_SHOWN],
        "cleanup_next": jobs.next_cleanup(now),
        "cleanup_overdue": jobs.next_cleanup(now) <= now,
        "cleanup_last": last_cleanup,
        "cleanup_deleted": cleanup.counts_text(last_cleanup.counts) if last_cleanup else "",
        "cleanup_would": cleanup.counts_text(cleanup.preview(now)),
    }
    return render(request, "retention/index.html", shown, status=status)
