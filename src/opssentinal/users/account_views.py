"""One account, for admins: what it is, changing it, its links, its sessions, and switching it off and on."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from opssentinal.apikeys.models import APIKey
from opssentinal.errors import Conflict
from opssentinal.ledger.recording import recording
from opssentinal.users import services
from opssentinal.users.forms import AccountForm
from opssentinal.users.listing import accounts_with_state, last_seen
from opssentinal.users.views import shown_link
from opssentinal.workspace import accounts, second_factor
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.links import has_link
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import request_actor, request_context
from opssentinal.workspace.seen import SETTINGS_CHANGED
from opssentinal.workspace.sessions import browser_name, live_sessions, revoke

SESSIONS_MAX = 100
View = Callable[[HttpRequest, User], HttpResponse]


def _on_account(view: View) -> Callable[..., HttpResponse]:
    """For admins: `view` gets the account; a refusal leads back to its page and says why."""

    @admin_required
    @never_cache
    @wraps(view)
    def found(request: HttpRequest, pk: int) -> HttpResponse:
        user = get_object_or_404(accounts_with_state(), pk=pk)
        try:
            return view(request, user)
        except Conflict as error:
            messages.error(request, error.detail)
            return _back(user)

    return cast(Callable[..., HttpResponse], found)


@_on_account
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest, user: User) -> HttpResponse:
    """What the account is; POST changes its name, address, role and limits."""
    form = AccountForm.of(user, request.POST or None, fixed=_fixed(user))
    if request.method == "POST" and form.is_valid():
        try:
            changed = services.update(
                user, request_actor(request), request_context(request), seen=form.version, **form.changes()
            )
        except ValidationError as error:
            form.add_error(None, error)
        except Conflict as error:
            if error.code == SETTINGS_CHANGED:
                raise  # a new page, since this one would be refused again
            form.add_error("email" if error.code == "address_taken" else None, error.detail)
        else:
            messages.info(request, "Saved." if changed else "Nothing has changed.")
            return _back(user)
    shown = get_object_or_404(accounts_with_state(), pk=user.pk)  # `user` may carry what was refused
    return render(request, "users/account.html", _facts(request, shown, form), status=400 if form.errors else 200)


@_on_account
@require_POST
def link(request: HttpRequest, user: User) -> HttpResponse:
    """Make a one-time link and show it; nothing may store this answer."""
    return shown_link(request, services.issue_link(user, request_actor(request), request_context(request)))


@_on_account
@require_POST
def revoke_link(request: HttpRequest, user: User) -> HttpResponse:
    """End the outstanding link."""
    if services.revoke_links(user, request_actor(request), request_context(request)):
        messages.success(request, "The link works no more.")
    return _back(user)


@_on_account
@require_http_methods(["GET", "HEAD", "POST"])
def deactivate(request: HttpRequest, user: User) -> HttpResponse:
    """Ask, then switch the account off."""
    if request.method != "POST":
        refusal = services.refusal_to_deactivate(user, request_actor(request))
        if refusal:
            raise Conflict(refusal)
        return render(request, "users/deactivate.html", {"account": user} | _counts(user))
    if services.deactivate(user, request_actor(request), request_context(request)):
        messages.success(request, f"{user} is deactivated and signed out.")
    return _back(user)


@_on_account
@require_POST
def reactivate(request: HttpRequest, user: User) -> HttpResponse:
    """Switch the account on again."""
    if services.reactivate(user, request_actor(request), request_context(request)):
        messages.success(request, f"{user} can sign in again.")
    return _back(user)


@_on_account
@require_http_methods(["GET", "HEAD", "POST"])
def reset_second_factor(request: HttpRequest, user: User) -> HttpResponse:
    """Ask, then take away the second factor."""
    if request.method != "POST":
        return render(request, "users/second_factor.html", {"account": user})
    if services.reset_second_factor(user, request_actor(request), request_context(request)):
        messages.success(request, f"{user} has no second factor any more.")
    return _back(user)


@_on_account
@require_POST
def sessions(request: HttpRequest, user: User) -> HttpResponse:
    """End sessions of the account: `session` = a row's id, or `all`. One's own are ended under Profile."""
    if user == request.user:
        return redirect("usersessions_list")
    wanted = request.POST.get("session", "")
    chosen = [session for session in live_sessions(user) if wanted in ("all", str(session.pk))]
    with recording() as record:
        ended = revoke(chosen, request_actor(request), request_context(request), record)
    if ended:
        messages.success(request, f"{ended} session{'s' if ended > 1 else ''} ended.")
    else:
        messages.info(request, "There was no such session any more.")
    return _back(user)


def _back(user: User) -> HttpResponse:
    return redirect("users:account", pk=user.pk)


def _fixed(user: User) -> dict[str, str]:
    """The fields that cannot change now, with the reason."""
    if not accounts.is_last_admin(user):
        return {}
    return {"role": accounts.LAST_ADMIN, "expires_at": accounts.LAST_ADMIN}


def _counts(user: User) -> dict[str, int]:
    keys = APIKey.objects.filter(created_by=user, revoked_at=None).count()
    return {"session_count": len(live_sessions(user)), "key_count": keys}


def _facts(request: HttpRequest, user: User, form: AccountForm) -> dict[str, Any]:
    return {
        "account": user,
        "form": form,
        "last_seen": last_seen(user),
        "is_own": user == request.user,
        "has_link": has_link(user),
        "has_second_factor": second_factor.has_second_factor(user),
        "refusal_to_link": services.refusal_to_link(user, request_actor(request)),
        "refusal_to_deactivate": services.refusal_to_deactivate(user, request_actor(request)),
        "sessions": [
            {"session": one, "browser": browser_name(one.user_agent)} for one in live_sessions(user)[:SESSIONS_MAX]
        ],
    } | _counts(user)
