"""The pages below Insights → Exports: ask for a file, watch it being made, fetch it. For those who may read the log.

An auditor sees the exports they asked for, which hold events of their period only. Every address answers without JavaScript too; with it, the progress refreshes in place.
"""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.timezone import now as utc_now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from opssentinal.errors import Conflict, InvalidInput, NotFound, OpsSentinalError, Overloaded
from opssentinal.exports import services
from opssentinal.exports.models import Export
from opssentinal.exports.services import Principal
from opssentinal.query import Filter, from_params, zone_named
from opssentinal.workspace.access import log_bounds, log_reader_required
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import request_actor, request_context

CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


class ExportResponse(FileResponse):
    """A file in portions of 256 KiB: with Django's 4 KiB each portion's way through the server costs more than itself."""

    block_size = 1 << 18


# Most exports are small: their file comes at once, without a detour over the page of the job.
AT_ONCE_S = 2.0
PER_PAGE = 50


@log_reader_required
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Every export, newest first."""
    page = Paginator(services.list_exports(_principal(request)), PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "exports/index.html", {"page": page, "now": utc_now()})


@log_reader_required
@require_POST
def create(request: HttpRequest) -> HttpResponse:
    """Export what a page shows: `filter` as Filter.to_json writes it, or the parameters of an address; format, bom, tz.

    Answers with the file if it is ready within AT_ONCE_S seconds, else with the page of the job.
    """
    form = request.POST
    format = form.get("format", "csv")
    principal = _principal(request)
    try:
        export = services.create_export(
            request_actor(request),
            request_context(request),
            principal,
            _filter(request) & principal.bounds,
            format,
            # The box may stay ticked when another format is chosen; it speaks of CSV only.
            bom=format == "csv" and form.get("bom", "") not in ("", "0", "false"),
            tz=form.get("tz") or "UTC",
        )
    except (InvalidInput, Overloaded) as error:
        messages.error(request, str(error))
        return redirect("exports:index")
    export = services.wait_for(export, AT_ONCE_S)
    ready = export.status == Export.Status.READY
    return redirect("exports:download" if ready else "exports:detail", export.public_id)


def _filter(request: HttpRequest) -> Filter:
    form = request.POST
    if form.get("filter"):
        return Filter.from_json(form["filter"])
    return from_params(form.lists(), zone_named(form.get("tz") or "UTC", path="tz"))


@log_reader_required
@require_safe
@never_cache
def detail(request: HttpRequest, public_id: str) -> HttpResponse:
    """One export: what is in it, who asked for it, how far it is, and its file."""
    return render(request, "exports/detail.html", _shown(request, public_id))


@log_reader_required
@require_safe
@never_cache
def progress(request: HttpRequest, public_id: str) -> HttpResponse:
    """The part of the page that changes while the export is made; it asks for itself until the export has ended."""
    return render(request, "exports/_export.html", _shown(request, public_id))


def _shown(request: HttpRequest, public_id: str) -> dict[str, object]:
    export = _found(request, public_id)
    outside = "" if _principal(request).may_take(export.filter) else services.OUTSIDE
    return {"export": export, "fetchable": export.is_fetchable(utc_now()) and not outside, "outside": outside}


@log_reader_required
@require_POST
def cancel(request: HttpRequest, public_id: str) -> HttpResponse:
    """Stop an export that is on its way."""
    try:
        services.cancel_export(_principal(request), public_id, request_actor(request), request_context(request))
    except NotFound as error:
        raise Http404(str(error)) from error
    except Conflict as error:
        messages.info(request, str(error))
    return redirect("exports:detail", public_id)


@log_reader_required
@require_GET
@never_cache
def download(request: HttpRequest, public_id: str) -> FileResponse | HttpResponse:
    """The file; that it is fetched is in the log before the first byte leaves."""
    _found(request, public_id)
    try:
        export, file = services.open_export(
            _principal(request), public_id, request_actor(request), request_context(request)
        )
    except OpsSentinalError as error:
        messages.error(request, str(error))
        return redirect("exports:detail", public_id)
    response = ExportResponse(file, content_type=CONTENT_TYPES[export.format])
    response.headers["Content-Length"] = str(export.bytes)
    # The name is made of a time and a format, so that it needs no quoting beyond this.
    response.headers["Content-Disposition"] = f'attachment; filename="{export.file_name}"'
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _found(request: HttpRequest, public_id: str) -> Export:
    try:
        return services.get_export(_principal(request), public_id)
    except NotFound as error:
        raise Http404(str(error)) from error


def _principal(request: HttpRequest) -> Principal:
    user = cast(User, request.user)
    return Principal("user", str(user.pk), is_admin=user.is_admin, bounds=log_bounds(user))
