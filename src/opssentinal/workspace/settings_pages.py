"""Settings → General (name, public URL, time zone, e-mail, proxies) and Settings → Security. For admins."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from opssentinal.errors import InvalidInput, OpsSentinalError, Unavailable
from opssentinal.events.model import Event, Target
from opssentinal.ledger.recording import recording
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.mail import is_configured, send_mail
from opssentinal.workspace.models import StoredPreferences
from opssentinal.workspace.preferences import preferences, update_preferences
from opssentinal.workspace.principals import request_actor, request_address, request_context
from opssentinal.workspace.proxies import last_sighting
from opssentinal.workspace.public_url import public_url
from opssentinal.workspace.settings_forms import EmailForm, GeneralForm, SecurityForm

ANSWER_MAX = 300


@never_cache
@admin_required
@require_safe
def general(request: HttpRequest) -> HttpResponse:
    """The name, the address, the time zone, the mail server, and how client addresses are found."""
    return _general(request)


@admin_required
@require_POST
def update_general(request: HttpRequest) -> HttpResponse:
    """Store what the workspace is called and where it is."""
    form = GeneralForm(request.POST)
    if not form.is_valid():
        return _general(request, general_form=form, status=400)
    return _store(request, "general", "workspace:general", seen=form.version, **form.entered)


@sensitive_post_parameters("smtp_password")
@admin_required
@require_POST
def update_email(request: HttpRequest) -> HttpResponse:
    """Store the mail server, and its password if one was entered."""
    form = EmailForm(request.POST, stored=preferences(), has_password=_has_smtp_password())
    if not form.is_valid():
        return _general(request, email_form=form, status=400)
    chosen, secrets = form.split()
    return _store(request, "email", "workspace:general", secrets=secrets, seen=form.version, **chosen)


@admin_required
@require_POST
def test_email(request: HttpRequest) -> HttpResponse:
    """Send a message to whoever asks, say what the mail server answered, and record it either way."""
    user: Any = request.user
    workspace = preferences().workspace_name
    text = f"This is the test message you asked for in {workspace}.\n\n{public_url()}\n"
    try:
        answer, is_sent = send_mail(user.email, f"Test message of {workspace}", text), True
    except (Unavailable, InvalidInput) as error:  # the name of the workspace may not be fit for a subject
        answer, is_sent = str(error), False
    with recording() as record:
        record(
            Event(
                action="email.tested",
                outcome="success" if is_sent else "failure",
                actor=request_actor(request),
                targets=[Target(type="mailbox", id=user.email)],
                context=request_context(request),
                metadata={"answer": answer[:ANSWER_MAX]},
            )
        )
    if is_sent:
        messages.success(request, f"Sent to {user.email}. The mail server answered: {answer}")
    else:
        messages.error(request, answer)
    return redirect("workspace:general")


@never_cache
@admin_required
@require_safe
def security(request: HttpRequest) -> HttpResponse:
    """Passwords, lock-out, second factor and auditors."""
    return _security(request)


@admin_required
@require_POST
def update_security(request: HttpRequest) -> HttpResponse:
    """Store how people sign in and what auditors may."""
    form = SecurityForm(request.POST)
    if not form.is_valid():
        return _security(request, form, status=400)
    return _store(request, "security", "workspace:security", seen=form.version, **form.entered)


def _store(request: HttpRequest, section: str, page: str, **changes: Any) -> HttpResponse:
    try:
        update_preferences(request_actor(request), request_context(request), section, **changes)
    except OpsSentinalError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "Saved.")
    return redirect(page)


def _general(
    request: HttpRequest,
    general_form: GeneralForm | None = None,
    email_form: EmailForm | None = None,
    status: int = 200,
) -> HttpResponse:
    chosen = preferences()
    has_password = _has_smtp_password()
    address, chain = request_address(request)
    shown = {
        "general_form": general_form or GeneralForm.showing(chosen),
        "email_form": email_form or EmailForm.showing(chosen, stored=chosen, has_password=has_password),
        "can_mail": is_configured(),
        "base_url": settings.CONFIG.base_url,
        "needs_secure_cookies": public_url().startswith("https://") and not settings.SESSION_COOKIE_SECURE,
        "peer": request.META.get("REMOTE_ADDR", ""),
        "address": address,
        "chain": chain,
        "proxies": settings.CONFIG.trusted_proxies,
        "sighting": last_sighting(),
    }
    return render(request, "workspace/general.html", shown, status=status)


def _security(request: HttpRequest, form: SecurityForm | None = None, status: int = 200) -> HttpResponse:
    shown = {"form": form or SecurityForm.showing(preferences())}
    return render(request, "workspace/security.html", shown, status=status)


def _has_smtp_password() -> bool:
    row = StoredPreferences.objects.filter(pk=1).first()
    return row is not None and "smtp_password" in row.secrets
