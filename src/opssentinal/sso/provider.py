"""allauth's OpenID Connect provider with what it leaves out: a nonce, our redirect URI, and metadata that is checked.

allauth finds the class by this module's name and by `provider_classes`.
"""

from __future__ import annotations

from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Client
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.http import HttpRequest, HttpResponseBase

from opssentinal.sso import configuration
from opssentinal.sso.discovery import Metadata, discovered
from opssentinal.workspace.public_url import public_url


class Client(OAuth2Client):
    """Builds the address of the authorization request, also where the endpoint has a query of its own (RFC 6749, 3.1)."""

    def get_redirect_url(self, authorization_url: str, scope: list[str], extra_params: dict[str, Any]) -> str:
        """Return the endpoint with all parameters."""
        plain, _, own = authorization_url.partition("?")
        url = str(super().get_redirect_url(plain, scope, extra_params))
        return f"{url}&{own}" if own else url


class ProviderAdapter(OpenIDConnectOAuth2Adapter):
    """Where the endpoints come from, and where the browser comes back to."""

    client_class = Client

    @property
    def openid_config(self) -> Metadata:
        """The provider's metadata, at most a minute old and the same for all of a step. Raises InvalidInput and Unavailable."""
        if not hasattr(self, "_metadata"):
            self._metadata = discovered(self.get_provider().app.settings["issuer"])
        return self._metadata

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        """The redirect URI that the provider knows, whatever host name the browser used."""
        return configuration.redirect_uri()


class SignOnProvider(OpenIDConnectProvider):
    """Adds a nonce to each authorization request and keeps it beside the state; `id_token.verify` compares it."""

    oauth2_adapter_class = ProviderAdapter

    def redirect(
        self, request: HttpRequest, process: str, next_url: str | None = None, data: Any = None, **kept: Any
    ) -> HttpResponseBase:
        """Keep state, PKCE verifier and nonce in the session and answer with the redirect to the provider."""
        nonce = token_urlsafe(32)
        return super().redirect(
            request, process, next_url, data, auth_params={"nonce": nonce}, nonce=nonce, scope=self.get_scope(), **kept
        )


def is_at_home(request: HttpRequest) -> bool:
    """Whether the browser is where the provider will send it back to; elsewhere it would not have its session there."""
    return urlsplit(request.build_absolute_uri("/")).netloc == urlsplit(public_url()).netloc


provider_classes = [SignOnProvider]
