"""Settings → Data Retention → Legal holds, for admins: the list, placing one and releasing one."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import get_current_timezone
from django.views.decorators.http import require_http_methods, require_safe

from opssentinal.approvals import services as approvals
from opssentinal.errors import Conflict, NotFound, Overloaded, Unavailable
from opssentinal.ledger import held
from opssentinal.query import Filter
from opssentinal.query import format as format_query
from opssentinal.retention import changes, holds
from opssentinal.retention.forms import HoldForm
from opssentinal.retention.models import LegalHold
from opssentinal.retention.scheduling import Result, hold_field
from opssentinal.search.client import Extent, search
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences
from opssentinal.workspace.principals import request_context

RELEASED_SHOWN = 50
_SAID = {
    Result.IN_FORCE: "The hold {} is released; retention applies again.",
    Result.SCHEDULED: "The hold {} will be released after the cool-down; that can be cancelled until then.",
    Result.ASKED: "Another admin has to approve releasing {}.",
}


@admin_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The holds in force, and those that were released."""
    releasing = approvals.waiting().filter(kind=holds.APPROVAL_KIND)
    waiting = {approval.subject: approval for approval in releasing}
    scheduled = {change.field: change for change in changes.scheduled()}
    shown = {
        "holds": [
            {"hold": hold, "request": waiting.get(str(hold.pk)), "change": scheduled.get(hold_field(hold.pk))}
            for hold in holds.in_force()
        ],
        "released": LegalHold.objects.exclude(released_at=None).select_related("placed_by", "released_by")[
            :RELEASED_SHOWN
        ],
        "kept": held.totals().events,
    }
    return render(request, "retention/holds.html", shown)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def place(request: HttpRequest) -> HttpResponse:
    """The form; sent, it first says how many events that is now, and asks."""
    form = HoldForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "retention/hold.html", {"form": form}, status=400 if form.errors else 200)
    if not form.cleaned_data["confirmed"]:
        # Relative times and days are fixed here: what is confirmed is what was counted.
        query = format_query(form.filter, get_current_timezone(), absolute=True)
        asking = {**form.cleaned_data, "query": query, "extent": _extent(form.filter)}
        return render(request, "retention/hold.html", {"form": form, "asking": asking})
    said = form.cleaned_data
    try:
        hold = holds.place(
            cast(User, request.user),
            request_context(request),
            name=said["name"],
            reason=said["reason"],
            filter=form.filter,
        )
    except Conflict as error:
        form.add_error(None, str(error))
        return render(request, "retention/hold.html", {"form": form}, status=409)
    messages.success(request, f"The hold {hold.name} is placed.")
    return redirect("retention:holds")


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def release(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask, then release after the cool-down, or ask the second admin."""
    hold = LegalHold.objects.filter(pk=pk, released_at=None).first()
    if hold is None:
        if not LegalHold.objects.filter(pk=pk).exists():
            raise Http404
        messages.info(request, "That hold has been released.")
        return redirect("retention:holds")
    if request.method != "POST":
        cooldown = preferences().retention_cooldown_hours
        shown = {"hold": hold, "needs_approval": approvals.are_needed(), "cooldown": cooldown}
        return render(request, "retention/release.html", shown)
    try:
        result = holds.release(pk, cast(User, request.user), request_context(request))
    except (Conflict, NotFound) as error:
        messages.info(request, str(error))
    else:
        messages.success(request, _SAID[result].format(hold.name))
    return redirect("retention:holds")


def _extent(filter: Filter) -> Extent | None:
    """How many events match now; None where search does not say, which must not keep anybody from placing a hold."""
    try:
        return search().extent(filter)
    except (Unavailable, Overloaded):
        return None
