"""What happens on the way to every page: where a form may come from, where a visitor is led first, and what is noted."""

from __future__ import annotations

import logging
from collections.abc import Callable

from allauth.account.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.shortcuts import redirect
from django.utils import timezone

from opssentinal.query import zone_named
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences
from opssentinal.workspace.principals import user_agent
from opssentinal.workspace.public_url import public_origin
from opssentinal.workspace.second_factor import has_second_factor, is_required
from opssentinal.workspace.sign_in import is_vouched_for

GetResponse = Callable[[HttpRequest], HttpResponse]
ACTIVITY_INTERVAL_S = 60
_AGENT_MAX = 200
log = logging.getLogger(__name__)
_OPEN_BEFORE_SETUP = ("/setup", "/api/", "/static/", "/healthz", "/readyz")
# Sign-out, setting up a second factor and proving first who one is; the API asks for keys and knows no session.
_OPEN_BEFORE_SECOND_FACTOR = (
    "/accounts/logout/", "/accounts/reauthenticate/", "/profile/second-factor/", "/api/", "/static/", "/healthz", "/readyz",
)  # fmt: skip


class FirstVisit:
    """While there is no account, every page leads to /setup. Accounts are never deleted, so one sight of one is enough."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._is_set_up = False

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not self._is_set_up and not request.path.startswith(_OPEN_BEFORE_SETUP):
            self._is_set_up = User.objects.exists()
            if not self._is_set_up:
                return redirect("workspace:setup")
        return self._get_response(request)


class OriginCheck(CsrfViewMiddleware):
    """Django's check of forms, which also takes them from the public URL: its scheme may be the proxy's and not ours."""

    def _origin_verified(self, request: HttpRequest) -> bool:
        verified = super()._origin_verified(request)  # type: ignore[misc]  # the stubs leave it out
        return bool(verified) or request.META["HTTP_ORIGIN"] == public_origin()


class SecondFactorFirst:
    """Whoever must have a second factor and has none is led to setting it up, from every other page.

    Not in a session through single sign-on: the requirement is about passwords.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if (
            user.is_authenticated
            and not request.path.startswith(_OPEN_BEFORE_SECOND_FACTOR)
            and is_required(user)
            and not has_second_factor(user)
            and not is_vouched_for(request, user)
        ):
            return redirect("mfa_index")
        return self._get_response(request)


class TimeZone:
    """Pages show and take times in the zone of the workspace; the Audit Logs page, in the one its reader chose."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.user.is_authenticated:
            return self._get_response(request)
        with timezone.override(zone_named(preferences().time_zone)):
            return self._get_response(request)


class SessionActivity:
    """Note when and from where a session was last used, at most once a minute, so that reading pages hardly writes."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        key = request.session.session_key
        if key and request.user.is_authenticated and cache.add(f"session-activity:{key}", True, ACTIVITY_INTERVAL_S):
            _note_activity(request, key)
        return self._get_response(request)


def _note_activity(request: HttpRequest, session_key: str) -> None:
    """Write when and from where. Pages must go on when nothing can be written any more, such as on a full disk."""
    try:
        with transaction.atomic():  # a statement on its own would not wait its turn among the writers
            UserSession.objects.filter(session_key=session_key).update(
                last_seen_at=timezone.now(),
                ip=get_adapter().get_client_ip(request),
                user_agent=session_user_agent(request),
            )
    except DatabaseError as error:
        log.warning("The last activity of a session could not be written: %s", error)


def session_user_agent(request: HttpRequest) -> str:
    """The user agent, cut to what a session's row holds."""
    return user_agent(request, _AGENT_MAX) or ""
