"""Where allauth asks for providers: our own encrypted row, and requests through the guarded session."""

from __future__ import annotations

import requests
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp
from django.http import HttpRequest

from opssentinal import outbound
from opssentinal.sso.models import OIDCProvider
from opssentinal.sso.provider import SignOnProvider
from opssentinal.workspace.encryption import decrypt


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """allauth's decisions about providers as this product makes them."""

    def list_apps(
        self, request: HttpRequest, provider: str | None = None, client_id: str | None = None
    ) -> list[SocialApp]:
        """The providers with their secrets, for as long as one request needs them. Raises Unavailable (encryption)."""
        rows = OIDCProvider.objects.exclude(issuer="")
        if provider and provider != SignOnProvider.id:
            rows = rows.filter(pk=int(provider)) if provider.isdecimal() else rows.none()
        if client_id:
            rows = rows.filter(client_id=client_id)
        return [_app(row) for row in rows]

    def get_requests_session(self) -> requests.Session:
        """The one way out."""
        return outbound.session()

    def is_open_for_signup(self, request: HttpRequest, sociallogin: object) -> bool:
        """Accounts come into being in `signing_in` alone."""
        return False


def _app(row: OIDCProvider) -> SocialApp:
    return SocialApp(
        provider=SignOnProvider.id,
        provider_id=str(row.pk),
        name=row.name,
        client_id=row.client_id,
        secret=decrypt(row.client_secret),
        settings={"issuer": row.issuer, "scope": row.scopes.split(), "oauth_pkce_enabled": True},
    )
