"""Who may open a page; a refusal is itself an event."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.encoding import escape_uri_path

from opssentinal.events.model import Event, Target
from opssentinal.ledger.recording import recording
from opssentinal.workspace.principals import request_actor, request_context

P = ParamSpec("P")
DENIAL_EVERY_S = 60
_NAME_MAX = 256


def admin_required(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Let admins in, send anonymous visitors to sign in, and refuse (403) and record everybody else."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        user: Any = request.user
        if not user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not user.is_admin:
            record_denial(request)
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return guarded


def record_denial(request: HttpRequest) -> None:
    """Record access.denied for this request's page, in a transaction of its own.

    At most one per account, page and minute: the log must tell that it happened, and must not be a way to fill the disk.
    """
    match = request.resolver_match
    path = escape_uri_path(request.path)[:_NAME_MAX]
    page = Target(type="page", id=(match.view_name if match else path)[:_NAME_MAX] or path, name=path)
    key = f"page-denial:{request.user.pk}:{page.id}"
    if not cache.add(key, True, DENIAL_EVERY_S):
        return
    try:
        with recording() as record:
            record(
                Event(
                    action="access.denied",
                    outcome="denied",
                    actor=request_actor(request),
                    targets=[page],
                    context=request_context(request),
                    metadata={"method": request.method},
                )
            )
    except BaseException:
        cache.delete(key)  # there is no record yet, so the next denial has to be one
        raise
