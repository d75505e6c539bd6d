"""Setup, profile and sessions; signing in and out and changing the password are allauth's views."""

from __future__ import annotations

from typing import Any

from allauth.account import views as allauth_views
from allauth.account.internal.flows.login import record_authentication
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from opssentinal.errors import Forbidden
from opssentinal.ledger.recording import recording
from opssentinal.workspace.accounts import change_account
from opssentinal.workspace.adapters import AccountAdapter
from opssentinal.workspace.forms import NameForm, SetupForm
from opssentinal.workspace.principals import request_actor, request_context
from opssentinal.workspace.sessions import browser_name, live_sessions, revoke
from opssentinal.workspace.setup import create_first_admin, is_set_up, is_setup_token

RETRY_AFTER_S = 300


@never_cache
@sensitive_post_parameters("token", "password", "password_again")
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest) -> HttpResponse:
    """Create the first admin and sign them in; leads to sign-in for ever once there is an account."""
    token = str((request.POST if request.method == "POST" else request.GET).get("token", ""))
    is_open = is_setup_token(token)
    if is_set_up():  # asked second: a token that has just been used is gone, and then this is true already
        return redirect("account_login")
    if not is_open:
        return render(request, "workspace/setup_token.html", {"is_wrong": bool(token)}, status=403 if token else 200)
    form = SetupForm(request.POST) if request.method == "POST" else SetupForm(initial={"token": token})
    if request.method != "POST" or not form.is_valid():
        return render(request, "workspace/setup.html", {"form": form})
    chosen = {name: form.cleaned_data[name] for name in ("token", "email", "name", "password")}
    try:
        user = create_first_admin(request_context(request), **chosen)
    except ValidationError as error:
        form.add_error(None, error)
        return render(request, "workspace/setup.html", {"form": form})
    except Forbidden:
        return redirect("account_login")  # somebody else was first
    record_authentication(request, user, method="setup")
    AccountAdapter(request).login(request, user)
    return redirect("/")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """What the account is called, which its owner may change, and the ways to its password and sessions."""
    user = _account(request)
    form = NameForm(request.POST if request.method == "POST" else None, initial={"name": user.name})
    if request.method == "POST" and form.is_valid():
        with recording() as record:
            change_account(record, user, request_actor(request), request_context(request), **form.cleaned_data)
        messages.success(request, "Saved.")
        return redirect("workspace:profile")
    shown = {"form": form, "sessions": len(live_sessions(user))}
    return render(request, "workspace/profile.html", shown, status=400 if form.errors else 200)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def sessions(request: HttpRequest) -> HttpResponse:
    """List the account's sessions; POST `session` = a row's id, or `others`, revokes."""
    live = live_sessions(_account(request))
    others = [session for session in live if session.session_key != request.session.session_key]
    if request.method == "POST":
        wanted = request.POST.get("session", "")
        chosen = others if wanted == "others" else [session for session in others if str(session.pk) == wanted]
        if not chosen and wanted != "others":
            raise Http404
        with recording() as record:
            ended = revoke(chosen, request_actor(request), request_context(request), record)
        messages.success(request, "1 session was ended." if ended == 1 else f"{ended} sessions were ended.")
        return redirect("usersessions_list")
    rows = [
        {
            "session": session,
            "browser": browser_name(session.user_agent),
            "is_current": session.session_key == request.session.session_key,
        }
        for session in live
    ]
    rows.sort(key=lambda row: not row["is_current"])
    return render(request, "workspace/sessions.html", {"rows": rows, "others": len(others)})


@never_cache
@login_required
def password(request: HttpRequest) -> HttpResponse:
    """Change one's own password; an account that has none, such as one of single sign-on, is told so."""
    if not _account(request).has_usable_password():
        messages.info(request, "Your account has no password: you sign in another way.")
        return redirect("workspace:profile")
    response: HttpResponse = allauth_views.password_change(request)
    return response


@never_cache
@sensitive_post_parameters("password1", "password2")
def password_by_link(request: HttpRequest, uidb36: str, key: str) -> HttpResponse:
    """Set a password with a one-time link. allauth keeps the token in the session and goes on without it in the address."""
    response: HttpResponse = allauth_views.password_reset_from_key(request, uidb36=uidb36, key=key)
    if key != allauth_views.PasswordResetFromKeyView.reset_url_key:  # this address has the token in it
        response.headers["Referrer-Policy"] = "no-referrer"
    return response


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """The answer to more attempts than the limits allow."""
    response = render(request, "429.html", status=429)
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _account(request: HttpRequest) -> Any:
    return request.user
