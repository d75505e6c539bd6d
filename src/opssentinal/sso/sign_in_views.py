"""Signing in through the provider: the button's form, and where the browser comes back to, for tests too."""

from __future__ import annotations

from typing import Any

from allauth.account.utils import get_next_redirect_url
from allauth.core.internal import ratelimit
from allauth.decorators import rate_limit
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from opssentinal.sso import protocol, signing_in
from opssentinal.sso.models import OIDCProvider
from opssentinal.sso.pages import leave, refused_page
from opssentinal.sso.protocol import Begun
from opssentinal.sso.provider import is_at_home
from opssentinal.sso.refusal import SignInRefused
from opssentinal.sso.testing import Finding, record_result
from opssentinal.workspace.access import record_denial
from opssentinal.workspace.public_url import public_link, public_url

_AFTER = "/"
_REFUSAL_INTERVAL_S = 60


@rate_limit(action="login")
@never_cache
@require_POST
def start(request: HttpRequest, provider_id: int) -> HttpResponse:
    """Go to the provider. Only by a form of ours: a link could sign somebody in who did not ask for it."""
    row = _row(provider_id)
    if row is None or not row.is_enabled:
        raise Http404
    next_url = get_next_redirect_url(request) or ""
    if request.user.is_authenticated:
        return HttpResponseRedirect(next_url or _AFTER)
    if not is_at_home(request):
        login = public_link(reverse("account_login"))
        return leave(request, public_url(), f"{login}?{urlencode({'next': next_url})}" if next_url else login)
    try:
        return leave(request, row.name, protocol.authorization_url(request, row, protocol.SIGN_IN, next_url))
    except SignInRefused as refused:
        return _refuse(request, row, refused)


@never_cache
@require_GET
def callback(request: HttpRequest, provider_id: int) -> HttpResponse:
    """Come back from the provider."""
    row = _row(provider_id)
    if row is None:
        raise Http404
    begun = protocol.take_begun(request, provider_id)
    if begun is None:
        return _refuse(request, row, SignInRefused("state_mismatch"))
    if begun.purpose == protocol.TEST:
        return _finish_test(request, row, begun)
    if request.user.is_authenticated:  # signed in in another tab meanwhile
        return HttpResponseRedirect(begun.next_url or _AFTER)
    try:
        if not row.is_enabled:
            raise SignInRefused("switched_off")
        signing_in.sign_in(request, row, protocol.verified_claims(request, row, begun))
    except SignInRefused as refused:
        return _refuse(request, row, refused)
    return HttpResponseRedirect(begun.next_url or _AFTER)


def _finish_test(request: HttpRequest, row: OIDCProvider, begun: Begun) -> HttpResponse:
    user: Any = request.user
    if not user.is_authenticated or user.pk != begun.user_id:
        return _refuse(request, row, SignInRefused("state_mismatch"))
    if not user.is_admin:  # not any more
        record_denial(request)
        return redirect(_AFTER)
    try:
        found = Finding.of(row, protocol.verified_claims(request, row, begun))
    except SignInRefused as refused:
        found = Finding.failed(refused)
    record_result(request, row, begun.fingerprint, found)
    return redirect("sso:tested")


def _refuse(request: HttpRequest, row: OIDCProvider, refused: SignInRefused) -> HttpResponse:
    """Record the failure and show it. Beyond the limit per address one record a minute says so: nobody may fill the disk."""
    within = ratelimit.consume(request, app="allauth.account", action="sso_failed", limit_get=True)
    if within is None:
        if cache.add(f"sso-refused:{ratelimit.get_ip(request)}", True, _REFUSAL_INTERVAL_S):
            signing_in.record_failure(request, row, refused, "rate_limited")
        return ratelimit.respond_429(request)
    signing_in.record_failure(request, row, refused)
    return refused_page(request, refused, row.name)


def _row(provider_id: int) -> OIDCProvider | None:
    return OIDCProvider.objects.filter(pk=provider_id).exclude(issuer="").first()
