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
from opssentinal.query import Filter
from opssentinal.workspace.models import Role
from opssentinal.workspace.preferences import preferences
from opssentinal.workspace.principals import request_actor, request_context

P = ParamSpec("P")
DENIAL_EVERY_S = 60
_NAME_MAX = 256


def admin_required(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Let admins in, send anonymous visitors to sign in, and refuse (403) and record everybody else."""
    return _guarded(view, lambda user: user.is_admin)


def _guarded(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase], is_allowed: Callable[[Any], bool]
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        user: Any = request.user
        if not user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not is_allowed(user):
            record_denial(request)
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return guarded


def reads_log(user: Any) -> bool:
    """Whether this account may read and export the log: admins, and auditors where an admin has allowed it.

    Asked anew at each request, so a role, a preference or an account's time that has ended ends the reading too. A period
    that ends before it begins holds nothing to read.
    """
    if not user.is_authenticated or user.is_expired:
        return False
    if user.is_admin:
        return True
    is_empty = user.log_from is not None and user.log_until is not None and user.log_from >= user.log_until
    return user.role == Role.AUDITOR and not is_empty and preferences().auditors_read_log


def log_bounds(user: Any) -> Filter:
    """The filter that lies over everything this account reads of the log: nothing for admins, an auditor's period."""
    if user.is_admin:
        return Filter()
    return Filter(after=user.log_from, before=user.log_until)


def log_reader_required(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Like admin_required, and lets in auditors while they may read the log; the view applies `log_bounds`.

    That it was read is recorded by the view (`viewing.is_page_view_recorded`), once it has something to show.
    """
    return _guarded(view, reads_log)


def record_denial(request: HttpRequest) -> None:
    """Record access.denied for this request's page, in a transaction of its own.

    At most one per account, page and minute: the log must tell that it happened, and must not be a way to fill the disk.
    """
    match = request.resolver_match
    path = escape_uri_path(request.path)[:_NAME_MAX]
    page = Target(type="page", id=(match.view_name if match else path)[:_NAME_MAX] or path, name=path)
    record_once(
        f"page-denial:{request.user.pk}:{page.id}",
        Event(
            action="access.denied",
            outcome="denied",
            actor=request_actor(request),
            targets=[page],
            context=request_context(request),
            metadata={"method": request.method},
        ),
    )


def record_once(key: str, denial: Event) -> None:
    """Record a denial in a transaction of its own, unless one was recorded under this key in the last minute."""
    if not cache.add(key, True, DENIAL_EVERY_S):
        return
    try:
        with recording() as record:
            record(denial)
    except BaseException:
        cache.delete(key)  # there is no record yet, so the next denial has to be one
        raise
