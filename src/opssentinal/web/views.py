"""The start page, the choice of theme, and what is shown where a page could not be made."""

from __future__ import annotations

import sys

from django.contrib.auth.decorators import login_required
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from opssentinal.ledger.outcome import disk_full, is_disk_full
from opssentinal.web.context_processors import THEME_COOKIE, THEMES
from opssentinal.web.navigation import is_log_reader

_YEAR_S = 365 * 24 * 3600


@login_required
def start(request: HttpRequest) -> HttpResponse:
    """Send each to the first page of their own: those who may read it to the log, others to incidents."""
    return redirect("web:log" if is_log_reader(request) else "incidents:index")


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie, or follow the system again, and go back to the page it was chosen on."""
    target = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    response = HttpResponseRedirect(target if safe else "/")
    chosen = request.POST.get("theme")
    if chosen in THEMES:
        response.set_cookie(THEME_COOKIE, chosen, max_age=_YEAR_S, samesite="Lax", secure=request.is_secure())
    else:
        response.delete_cookie(THEME_COOKIE, samesite="Lax")
    return response


def failed(request: HttpRequest) -> HttpResponse:
    """Answer for a page that raised: 503 and why where the database is the reason, else 500. Asks the database nothing."""
    error = sys.exception()
    if not isinstance(error, OperationalError | InterfaceError):
        return HttpResponse(render_to_string("500.html"), status=500)
    title, detail = "The database does not answer", ""
    if is_disk_full(error):
        title, detail = "Nothing can be changed right now", disk_full().detail
    return HttpResponse(render_to_string("503.html", {"title": title, "detail": detail}), status=503)
