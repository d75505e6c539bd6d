"""Settings → Data Retention: how long audit events are kept, and, plainly apart, the standard cleanup. For admins."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now as utc_now
from django.views.decorators.http import require_POST, require_safe

from opssentinal.errors import InvalidInput
from opssentinal.events.model import from_us, to_us
from opssentinal.ledger import pruning
from opssentinal.ledger.pruning import PruneReport
from opssentinal.retention import jobs, policy
from opssentinal.retention.forms import AuditRetentionForm, CleanupForm
from opssentinal.retention.models import RetentionRun
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.preferences import preferences, update_preferences
from opssentinal.workspace.principals import request_actor, request_context

RUNS_SHOWN = 10


@admin_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Both settings, what the next run would remove, and the last runs."""
    return _page(request)


@admin_required
@require_POST
def update_audit(request: HttpRequest) -> HttpResponse:
    """Set the audit retention. Where it gets shorter and events would go, ask first and say how many."""
    form = AuditRetentionForm(request.POST)
    if not form.is_valid():
        return _page(request, audit_form=form, status=400)
    days, current = form.chosen_days, preferences().audit_retention_days
    if not form.cleaned_data["confirmed"] and _is_shorter(days, current):
        loss = _removed_by(days)
        if loss is not None and loss.events:
            asking: dict[str, object] = {
                "days": days,
                "label": policy.days_text(days),
                "loss": loss,
                "oldest": _oldest(loss),
            }
            return _page(request, audit_form=form, asking=asking)
    return _store(request, "data_retention", audit_retention_days=days)


@admin_required
@require_POST
def update_cleanup(request: HttpRequest) -> HttpResponse:
    """Set the standard cleanup's days."""
    form = CleanupForm(request.POST)
    if not form.is_valid():
        return _page(request, cleanup_form=form, status=400)
    return _store(request, "cleanup", **form.cleaned_data)


def _store(request: HttpRequest, section: str, **changes: Any) -> HttpResponse:
    try:
        update_preferences(request_actor(request), request_context(request), section, **changes)
    except InvalidInput as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "Saved.")
    return redirect("retention:index")


def _is_shorter(days: int | None, than: int | None) -> bool:
    return days is not None and (than is None or days < than)


def _removed_by(days: int | None) -> PruneReport | None:
    """What a run at this moment would remove; None for ever."""
    return None if days is None else pruning.preview(to_us(policy.cutoff(utc_now(), days)))


def _oldest(report: PruneReport | None) -> datetime | None:
    return None if report is None or report.oldest_us is None else from_us(report.oldest_us)


def _page(
    request: HttpRequest,
    audit_form: AuditRetentionForm | None = None,
    cleanup_form: CleanupForm | None = None,
    asking: dict[str, object] | None = None,
    status: int = 200,
) -> HttpResponse:
    now, chosen = utc_now(), preferences()
    next_prune, next_loss = jobs.next_prune(now), _removed_by(chosen.audit_retention_days)
    shown = {
        "audit_form": audit_form or AuditRetentionForm.showing(chosen.audit_retention_days),
        "cleanup_form": cleanup_form
        or CleanupForm(
            initial={
                "cleanup_sessions_days": chosen.cleanup_sessions_days,
                "cleanup_exports_days": chosen.cleanup_exports_days,
            }
        ),
        "asking": asking,
        "retention": policy.days_text(chosen.audit_retention_days),
        "next_loss": next_loss,
        "next_oldest": _oldest(next_loss),
        "audit_next": next_prune,
        "audit_overdue": next_prune is not None and next_prune <= now,
        "audit_last": jobs.last_run(RetentionRun.Kind.AUDIT),
        "audit_runs": RetentionRun.objects.filter(kind=RetentionRun.Kind.AUDIT)[:RUNS_SHOWN],
        "cleanup_next": jobs.next_cleanup(now),
        "cleanup_overdue": jobs.next_cleanup(now) <= now,
        "cleanup_last": jobs.last_run(RetentionRun.Kind.CLEANUP),
    }
    return render(request, "retention/index.html", shown, status=status)
