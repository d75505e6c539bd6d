"""Profile → Second factor: authenticator app, passkeys and recovery codes, each change with its record in one transaction.

The pages are django-allauth's. It writes as its forms are valid; here that happens inside recording(), so that a factor
which cannot be recorded is neither added nor taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from allauth.account.internal.flows.login import perform_login
from allauth.account.models import Login
from allauth.account.views import BaseReauthenticateView
from allauth.core.internal import ratelimit
from allauth.mfa.base.internal.flows import post_authentication
from allauth.mfa.base.views import IndexView
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.views import (
    AddWebAuthnView,
    EditWebAuthnView,
    LoginWebAuthnView,
    ReauthenticateWebAuthnView,
    RemoveWebAuthnView,
)
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from opssentinal.events.model import Change
from opssentinal.ledger.recording import recording
from opssentinal.workspace.principals import request_actor, request_context
from opssentinal.workspace.second_factor import (
    RECOVERY_CODES,
    Type,
    differences,
    factors,
    has_second_factor,
    is_required,
    updated,
)

_never_cached = method_decorator(never_cache, name="dispatch")


@contextmanager
def _recording_changes(request: HttpRequest) -> Iterator[None]:
    """One transaction around what changes the account's factors inside, and the record of how they differ after it."""
    user: Any = request.user
    with recording() as record:
        before = factors(user)
        yield
        changes = differences(before, factors(user))
        if changes:
            record(updated(user, request_actor(request), request_context(request), *changes))


class _RecordsChanges:
    """For a page whose valid form changes factors."""

    request: HttpRequest

    def form_valid(self, form: Any) -> HttpResponse:
        with _recording_changes(self.request):
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc]  # of the page this is mixed into
        return response


@_never_cached
class Factors(IndexView):
    """What there is, and what is missing."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user: Any = self.request.user
        shown: dict[str, Any] = super().get_context_data(**kwargs)
        shown["is_missing"] = is_required(user) and not has_second_factor(user)
        if codes := shown["authenticators"].get(Type.RECOVERY_CODES):
            # Counted without reading them: the page must open where the server's key has changed.
            shown["codes_left"] = RECOVERY_CODES - codes.instance.data["used_mask"].bit_count()
        return shown


@_never_cached
class AddAuthenticatorApp(_RecordsChanges, ActivateTOTPView):
    """Show a new key as a QR code and as text; its first code proves that the app has it."""


class RemoveAuthenticatorApp(_RecordsChanges, DeactivateTOTPView):
    """Ask, then remove."""


@_never_cached
class AddPasskey(_RecordsChanges, AddWebAuthnView):
    """Have the browser make a passkey."""


class RenamePasskey(EditWebAuthnView):
    """Another name."""

    success_url = reverse_lazy("mfa_index")

    def form_valid(self, form: Any) -> HttpResponse:
        with _recording_changes(self.request):
            form.save()
        return redirect(self.get_success_url())


class RemovePasskey(_RecordsChanges, RemoveWebAuthnView):
    """Ask, then remove."""

    success_url = reverse_lazy("mfa_index")


class NewRecoveryCodes(_RecordsChanges, GenerateRecoveryCodesView):
    """Replace the recovery codes; the old ones are worth nothing from then on."""


@_never_cached
class RecoveryCodes(ViewRecoveryCodesView):
    """Show the codes, once. That they were shown is recorded before they are."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user: Any = self.request.user
        with recording() as record:
            shown: dict[str, Any] = super().get_context_data(**kwargs)
            if shown["can_view_codes"]:
                viewed = Change(field="recovery_codes", after="viewed")
                record(updated(user, request_actor(self.request), request_context(self.request), viewed))
        return shown


class ProveWithKey(ReauthenticateWebAuthnView):
    """A passkey of somebody who is signed in and about to change something that matters."""

    def form_valid(self, form: Any) -> HttpResponse:
        with transaction.atomic():
            post_authentication(self.request, form.cleaned_data["credential"], reauthenticated=True)
        return BaseReauthenticateView.form_valid(self, form)

    def form_invalid(self, form: Any) -> HttpResponse:
        for error in form.errors.get("credential", []):
            messages.error(self.request, error)
        return redirect(self.request.get_full_path())


@_never_cached
@method_decorator(ratelimit.decorator(app="allauth.mfa", action="webauthn_login", limit_get=True), name="dispatch")
class PasskeySignIn(LoginWebAuthnView):
    """Sign in with a passkey: GET is what the browser has to sign, for which a session is kept; POST is the signature."""

    def form_valid(self, form: Any) -> HttpResponse:
        factor = form.cleaned_data["credential"]
        with transaction.atomic():
            post_authentication(self.request, factor, passwordless=True)
        return perform_login(self.request, Login(user=factor.user))
