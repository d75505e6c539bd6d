"""Settings → Single sign-on, for admins: the connection, a test of it, who may come in, and the switch."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from opssentinal.errors import Conflict, InvalidInput, Unavailable
from opssentinal.sso import configuration, protocol
from opssentinal.sso.discovery import discover
from opssentinal.sso.forms import AccountsForm, ConnectionForm, RuleFormSet, entered_rules, rule_forms
from opssentinal.sso.models import Identity, OIDCProvider
from opssentinal.sso.pages import leave
from opssentinal.sso.provider import is_at_home
from opssentinal.sso.refusal import SignInRefused
from opssentinal.sso.testing import TEST_RESULT, Finding, record_result
from opssentinal.workspace.access import admin_required
from opssentinal.workspace.accounts import has_admin_with_password
from opssentinal.workspace.principals import request_actor, request_context
from opssentinal.workspace.public_url import public_url
from opssentinal.workspace.seen import SETTINGS_CHANGED

IDENTITIES_PER_PAGE = 50


@admin_required
@never_cache
@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Everything about the provider but its secret."""
    return _page(request)


@admin_required
@sensitive_post_parameters("client_secret")
@require_POST
def update_connection(request: HttpRequest) -> HttpResponse:
    """Ask the issuer for its description and, if it is in order, store the connection."""
    row = configuration.provider()
    form = ConnectionForm(request.POST, has_secret=bool(row and row.client_secret))
    if not form.is_valid():
        return _page(request, connection_form=form, status=400)
    chosen = form.entered
    was_enabled = row is not None and row.is_enabled
    try:
        discover(chosen["issuer"])  # asks the provider, so before the transaction
        after = configuration.save_connection(
            request_actor(request), request_context(request), seen=form.version, **chosen
        )
    except Conflict as error:
        if error.code == SETTINGS_CHANGED:
            return _out_of_date(request, error)
        form.add_error(None, str(error))
        return _page(request, connection_form=form, status=400)
    except (InvalidInput, Unavailable) as error:
        form.add_error("issuer" if not isinstance(error, InvalidInput) or not error.path else error.path, str(error))
        return _page(request, connection_form=form, status=400)
    if was_enabled and not after.is_enabled:
        messages.warning(request, "Saved. Single sign-on is off until the new connection has passed a test.")
    else:
        messages.success(request, "Saved.")
    return redirect("sso:index")


@admin_required
@require_POST
def update_accounts(request: HttpRequest) -> HttpResponse:
    """Store who may come in and with which role."""
    form, rules = AccountsForm(request.POST), RuleFormSet(request.POST, prefix="rules")
    _existing()
    if not form.is_valid() or not rules.is_valid():
        return _page(request, accounts_form=form, rules=rules, status=400)
    try:
        configuration.save_accounts(
            request_actor(request),
            request_context(request),
            **form.entered,
            rules=entered_rules(rules),
            seen=form.version,
        )
    except Conflict as error:
        return _out_of_date(request, error)
    except InvalidInput as error:
        form.add_error(error.path or None, error.detail.removeprefix(f"{error.path}: "))
        return _page(request, accounts_form=form, rules=rules, status=400)
    messages.success(request, "Saved.")
    return redirect("sso:index")


@admin_required
@require_POST
def switch(request: HttpRequest) -> HttpResponse:
    """Switch single sign-on on or off, and whether others than admins may still use a password."""
    _existing()
    chosen = {name: request.POST.get(name) == "on" for name in ("is_enabled", "is_required")}
    try:
        row = configuration.switch(
            request_actor(request), request_context(request), **chosen, seen=request.POST.get("seen") or None
        )
    except Conflict as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Single sign-on is {'on' if row.is_enabled else 'off'}.")
    return redirect("sso:index")


@admin_required
@never_cache
@require_POST
def test(request: HttpRequest) -> HttpResponse:
    """Begin a test: the admin goes to the provider and comes back, and nobody is signed in."""
    row = _existing()
    if not is_at_home(request):
        messages.error(request, f"Open this page at {public_url()}: the provider sends browsers back there.")
        return redirect("sso:index")
    try:
        return leave(request, row.name, protocol.authorization_url(request, row, protocol.TEST))
    except SignInRefused as refused:
        record_result(request, row, row.fingerprint, Finding.failed(refused))
        return redirect("sso:tested")


@admin_required
@never_cache
@require_safe
def tested(request: HttpRequest) -> HttpResponse:
    """What this browser's last test found."""
    found = request.session.get(TEST_RESULT)
    if found is None:
        return redirect("sso:index")
    shown = {"found": found, "claims": json.dumps(found["claims"], indent=2, ensure_ascii=False, sort_keys=True)}
    return render(request, "sso/tested.html", shown | {"provider": _existing()})


@admin_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def identities(request: HttpRequest) -> HttpResponse:
    """The accounts that are bound to a subject, and unlinking one: POST `identity`."""
    if request.method == "POST":
        chosen = request.POST.get("identity", "")
        if not chosen.isdecimal():
            raise Http404
        identity = get_object_or_404(Identity.objects.select_related("user"), pk=int(chosen))
        configuration.unbind(identity, request_actor(request), request_context(request))
        messages.success(request, f"{identity.user.email} is no longer linked.")
        return redirect("sso:identities")
    wanted = request.GET.get("email", "").strip().lower()
    rows = Identity.objects.select_related("user").order_by("user__email", "pk")
    if wanted:
        rows = rows.filter(user__email__contains=wanted)
    page = Paginator(rows, IDENTITIES_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "sso/identities.html", {"page": page, "wanted": wanted})


def _out_of_date(request: HttpRequest, error: Conflict) -> HttpResponse:
    messages.error(request, str(error))
    return redirect("sso:index")


def _existing() -> OIDCProvider:
    row = configuration.provider()
    if row is None or not row.issuer:
        raise Http404
    return row


def _page(
    request: HttpRequest,
    connection_form: ConnectionForm | None = None,
    accounts_form: AccountsForm | None = None,
    rules: Any = None,
    status: int = 200,
) -> HttpResponse:
    row = configuration.provider()
    shown = {
        "provider": row,
        "redirect_uri": configuration.redirect_uri(),
        "connection_form": connection_form or ConnectionForm.showing(row),
        "accounts_form": accounts_form or (AccountsForm.showing(row) if row else None),
        "rules": rules or rule_forms(row),
        "switches_seen": configuration.version(row, configuration.SWITCHES) if row else "",
        "identities": Identity.objects.count(),
        "has_admin_with_password": has_admin_with_password(),
    }
    return render(request, "sso/index.html", shown, status=status)
