"""Where django-allauth meets the log: every sign-in, refusal, sign-out and password change is recorded with its change.

allauth calls these methods for every way of signing in, so recording here covers the ways still to come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.account.internal.stagekit import clear_login
from allauth.core import context as allauth_context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.ratelimit import respond_429
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth import authenticate
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from opssentinal.events.model import Change, Event
from opssentinal.ledger.recording import recording
from opssentinal.workspace.accounts import last_admin
from opssentinal.workspace.letting_in import let_in
from opssentinal.workspace.links import end_links
from opssentinal.workspace.lockout import is_address_refused, is_locked_out
from opssentinal.workspace.models import User
from opssentinal.workspace.password_refusal import password_refusal
from opssentinal.workspace.principals import (
    request_actor,
    request_address,
    request_context,
    user_actor,
    user_target,
)
from opssentinal.workspace.public_url import public_origin
from opssentinal.workspace.sign_in import proof_of, record_failure

REFUSAL_INTERVAL_S = 60


class PasswordBackend(AuthenticationBackend):
    """Checks a password. An account that may not sign in with one gets exactly the answer of a wrong password."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> User | None:
        """Return the account if the password is right and it may sign in; always costs one hashing."""
        refusal = password_refusal()
        user = super().authenticate(request, **credentials)
        if user is not None and refusal(user):
            user = None
        if user is None:
            # allauth would otherwise go on with a switched-off account whose password was right, and tell so.
            self.unstash_authenticated_user()
        return user

    def user_can_authenticate(self, user: Any) -> bool:
        """Also asked at every request of a session: it ends when the account is switched off or its time is over."""
        return bool(user.can_sign_in)


class AccountAdapter(DefaultAccountAdapter):
    """allauth's decisions as this product makes them."""

    error_messages: ClassVar = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "Wrong e-mail address or password.",
        "enter_current_password": "This is not your current password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Accounts are made by admins only."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address that events carry too, so that limits per address cannot be dodged with a forged header."""
        ip, _ = request_address(request)
        if ip is None:
            raise PermissionDenied("The client has no address.")
        return ip

    def is_safe_url(self, url: str) -> bool:
        """Whether `next` may lead there: where the browser is, or the public address. Not to every name that is answered to."""
        hosts = {allauth_context.request.get_host(), urlsplit(public_origin()).netloc}
        return url_has_allowed_host_and_scheme(url, hosts, require_https=allauth_context.request.is_secure())

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Failures count for the address typed alone. allauth adds the Host header, which the visitor chooses."""
        return str(credentials.get("email", "")).lower()

    def login(self, request: HttpRequest, user: User) -> None:
        """Sign in: session, its row in the list and login.success in one transaction."""
        self._refuse_if_over(request, user)
        with self.signing_in(request) as record:
            self.open_session(record, request, user, **proof_of(request, user))

    @contextmanager
    def signing_in(self, request: HttpRequest) -> Iterator[Callable[[Event], None]]:
        """recording() around `open_session`, for what else has to happen together with signing in."""
        try:
            with recording() as record:
                yield record
        except BaseException:
            # Rolled back: whatever still renders an answer must see nobody signed in, and set no cookie.
            request.session = type(request.session)()
            request.user = AnonymousUser()
            raise

    def open_session(self, record: Callable[[Event], None], request: HttpRequest, user: User, **metadata: Any) -> None:
        """Sign the browser in and record login.success with `metadata`, inside the caller's `signing_in`."""
        super().login(request, user)
        end_links(user)
        request.session.save()
        UserSession.objects.create_from_request(request)
        record(
            Event(
                action="login.success",
                outcome="success",
                actor=user_actor(user),
                context=request_context(request),
                metadata=metadata,
            )
        )

    def logout(self, request: HttpRequest) -> None:
        """Sign out: end the session and record logout in one transaction."""
        user, key = request.user, request.session.session_key
        event = Event(
            action="logout", outcome="success", actor=request_actor(request), context=request_context(request)
        )
        try:
            with recording() as record:
                UserSession.objects.filter(session_key=key).delete()
                super().logout(request)
                record(event)
        except BaseException:
            # Rolled back: the session goes on, and the browser must keep its cookie.
            request.session = type(request.session)(key)
            request.user = user
            raise

    def set_password(self, user: User, password: str) -> None:
        """Change the password; every other session of the account ends with it, and every link. Recorded without any value.

        Of two that change it at once, such as with one link, the first does: whatever allowed the second is over then.
        """
        request = allauth_context.request
        by_link = request.resolver_match.url_name == "account_reset_password_from_key"
        known = {"password": user.password, "link_expires_at": user.link_expires_at, "is_active": True}
        user.set_password(password)
        with recording() as record:
            changed = User.objects.filter(pk=user.pk, **known).update(password=user.password, link_expires_at=None)
            if not changed:
                messages.error(request, "The account has changed meanwhile. Its password stays as it was.")
                raise ImmediateHttpResponse(redirect(request.path))
            if by_link:
                let_in.send(User, user=user)
            sessions = UserSession.objects.filter(user=user)
            # Django refuses these sessions by itself: they carry a hash of the old password.
            ended, _ = (sessions if by_link else sessions.exclude(session_key=request.session.session_key)).delete()
            record(
                Event(
                    action="user.updated",
                    outcome="success",
                    actor=user_actor(user),  # whoever else is signed in was signed out by the link
                    targets=[user_target(user)],
                    context=request_context(request),
                    changes=[Change(field="password")],
                    metadata={"sessions_ended": ended} | ({"method": "link"} if by_link else {}),
                )
            )
        user.link_expires_at = None

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Record login.failure with the reason, which the visitor is not told."""
        typed = str(credentials.get("email", ""))
        user = User.objects.filter(email=typed.lower()).first()
        record_failure(request, user, "password", _reason(user), typed)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Answer 429 where allauth's limits on failed attempts are reached.

        Guesses of others do not keep the last admin out: with the right password it comes in past the account's limit.

        Recorded for the first refusal of an address in each minute: the log must tell that it happened, and must not be a
        way to fill the disk.
        """
        is_refused = is_address_refused(request)  # asked first, since the attempt itself counts
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError as error:
            if not is_refused and _is_last_admin(request, **credentials):
                return
            if cache.add(f"sign-in-refused:{self.get_client_ip(request)}", True, REFUSAL_INTERVAL_S):
                typed = str(credentials.get("email", ""))
                user = User.objects.filter(email=typed.lower()).first()
                locked_out = is_locked_out(request, self._get_login_attempts_cache_key(request, **credentials))
                record_failure(request, user, "password", "locked_out" if locked_out else "rate_limited", typed)
            raise ImmediateHttpResponse(respond_429(request)) from error

    def pre_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse | None:
        """Every way of signing in passes here, with or without a password."""
        self._refuse_if_over(request, user)
        return super().pre_login(request, user, **kwargs)

    def _refuse_if_over(self, request: HttpRequest, user: User) -> None:
        """Record and turn away who may not sign in like this, also between two steps of signing in.

        That is an account that is switched off or over, and a passkey where passwords are refused. With a password it does
        not come so far: that is answered like a wrong one.
        """
        method = proof_of(request, user)["method"]
        refused = password_refusal()(user) if method == "passkey" else None
        if user.can_sign_in and not refused:
            return
        clear_login(request)
        record_failure(request, user, method, _reason(user))
        messages.error(request, "This account cannot sign in like this now.")
        raise ImmediateHttpResponse(self.respond_user_inactive(request, user))

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Ways to prove once more who one is: a password only where it would sign in as well."""
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        if user.is_authenticated and password_refusal()(user):
            methods = [method for method in methods if method["id"] != "reauthenticate"]
        return methods

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Not of an account that has nothing to prove it with here, since it signs in elsewhere."""
        has_way = bool(self.get_reauthentication_methods(allauth_context.request.user))
        return has_way and bool(super().is_reauthentication_required(app=app, **kwargs))

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        """An account switched off between two steps of signing in starts again."""
        return redirect("account_login")

    def add_message(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Say what happened once it has: inside a transaction, after its commit."""
        transaction.on_commit(partial(super().add_message, request, *args, **kwargs))

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Back to the profile."""
        return reverse("workspace:profile")


def _is_last_admin(request: HttpRequest, **credentials: Any) -> bool:
    """Whether these are the last admin's, password and all. Costs the same whose they are: a refusal tells nobody who it is."""
    last = last_admin()
    user = authenticate(request, **credentials)
    return user is not None and user.pk == last


def _reason(user: User | None) -> str:
    """Why a password was refused: what is true of the account stands before what was typed."""
    refusal = password_refusal()  # asked in any case, since every answer has to cost the same
    if user is None:
        return "unknown_account"
    if not user.can_sign_in:
        return "expired" if user.is_active else "inactive"
    return refusal(user) or "wrong_password"
