"""Bearer keys for the API: who is asking, whether the key's scope allows it, and how much it may ask in a minute."""

from __future__ import annotations

from typing import cast

from django.conf import settings
from django.http import HttpRequest
from ninja.security.http import HttpAuthBase

from opssentinal.apikeys.authentication import authenticate, bearer_token, note_use
from opssentinal.apikeys.denial import record_denial
from opssentinal.apikeys.principal import KeyPrincipal
from opssentinal.apikeys.rate import Budget, RateLimit
from opssentinal.errors import Forbidden
from opssentinal.events.model import Context
from opssentinal.workspace.principals import client_address, user_agent
from opssentinal.workspace.viewing import View, is_view_recorded

SCHEME = "APIKey"

REQUESTS = RateLimit("requests", settings.CONFIG.api_requests_per_minute)
EVENTS = RateLimit("events", settings.CONFIG.ingest_events_per_minute)


class Scope(HttpAuthBase):
    """Lets a request in whose key has this scope, and counts it against the key's share of requests.

    Writing events counts events instead, which its own view does. A key that asks beyond its scopes, or from
    outside of its networks, is recorded as access.denied.
    """

    openapi_scheme = "bearer"

    def __init__(self, name: str, counts_requests: bool = True) -> None:
        super().__init__()
        self.name = name
        self._counts_requests = counts_requests

    def __call__(self, request: HttpRequest) -> KeyPrincipal:
        """Return the principal, which ninja keeps as `request.auth`."""
        principal = authenticate(bearer_token(request.headers.get("Authorization", "")))
        try:
            principal.require_network(request_ip(request))
        except Forbidden as refused:
            _record_denial(request, principal, refused)
            raise
        note_use(principal)
        if self._counts_requests:
            note_budget(request, REQUESTS, REQUESTS.take(principal.id))
        try:
            principal.require(self.name)
        except Forbidden as refused:
            _record_denial(request, principal, refused, self.name)
            raise
        return principal


def principal_of(request: HttpRequest) -> KeyPrincipal:
    """The key that an operation was let in with."""
    return cast(KeyPrincipal, request.auth)  # type: ignore[attr-defined]


def note_view(request: HttpRequest, view: View) -> None:
    """Have it in the log that this key read the log, before the answer leaves; reading goes on where it cannot be."""
    principal = principal_of(request)
    is_view_recorded(view, f"api_key:{principal.id}", principal.actor(), key_context(request))


def note_budget(request: HttpRequest, limit: RateLimit, budget: Budget) -> None:
    """Have the response say what is left of a limit."""
    request.rate_headers = (  # type: ignore[attr-defined]
        ("RateLimit-Policy", limit.policy),
        ("RateLimit", limit.header(budget)),
    )


def request_ip(request: HttpRequest) -> str | None:
    """The client's address, seen past trusted proxies."""
    return client_address(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))[0]


def key_context(request: HttpRequest) -> Context:
    """Where a request with a key came from; it belongs to no session."""
    return Context(ip=request_ip(request), user_agent=user_agent(request))


def _record_denial(request: HttpRequest, principal: KeyPrincipal, refused: Forbidden, scope: str = "") -> None:
    method, path = str(request.method), request.path
    record_denial(principal, refused, key_context(request), method=method, path=path, scope=scope)
