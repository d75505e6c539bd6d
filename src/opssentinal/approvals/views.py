"""Settings → Approvals, for admins: what waits for a second admin, and what was decided before."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from opssentinal.approvals import services
from opssentinal.approvals.models import Approval
from opssentinal.errors import Conflict, Forbidden, NotFound
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import request_context

SHOWN = 50
_VERDICTS = {
    "grant": (services.grant, "Approved: {}."),
    "reject": (services.reject, "Rejected: {}."),
    "withdraw": (services.withdraw, "Withdrawn: {}."),
}


@admin_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The requests that wait, those one can decide oneself first, and the last ones that do not any more."""
    waiting = sorted(services.waiting(), key=lambda approval: approval.requested_by_id == request.user.pk)
    past = Approval.objects.exclude(pk__in=[approval.pk for approval in waiting])
    shown = {
        "waiting": [_foreseen(approval) for approval in waiting],
        "past": past.select_related("requested_by", "decided_by")[:SHOWN],
        "are_needed": services.are_needed(),
        "now": timezone.now(),
    }
    return render(request, "approvals/index.html", shown)


def _foreseen(approval: Approval) -> dict[str, Any]:
    """A request with what becomes of it once approved, or why it cannot be approved any more."""
    try:
        return {"approval": approval, "outlook": services.foresee(approval)}
    except Conflict as error:
        return {"approval": approval, "obstacle": str(error)}


@admin_required
@require_POST
def decide(request: HttpRequest, pk: int, verdict: str) -> HttpResponse:
    """Approve, reject or withdraw one request."""
    if verdict not in _VERDICTS:
        raise Http404
    act, done = _VERDICTS[verdict]
    try:
        approval = act(pk, cast(User, request.user), request_context(request))
    except NotFound as error:
        raise Http404 from error
    except (Conflict, Forbidden) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done.format(approval.title))
    return redirect("approvals:index")
