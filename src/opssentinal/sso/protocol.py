"""The two steps of the authorization code flow: to the provider, and back with claims that are proved."""

from __future__ import annotations

from typing import Any, NamedTuple

import requests
from allauth.socialaccount.internal import statekit
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.http import HttpRequest

from opssentinal.errors import InvalidInput, Overloaded, Unavailable
from opssentinal.sso import id_token
from opssentinal.sso.discovery import Metadata, discover, discover_for_visitor, fetch_json
from opssentinal.sso.models import OIDCProvider
from opssentinal.sso.provider import ProviderAdapter
from opssentinal.sso.refusal import SignInRefused

SIGN_IN, TEST = "sign-in", "test"
_DETAIL_CHARS_MAX = 500


class Begun(NamedTuple):
    """What was kept in the session when the browser went to the provider. `purpose` is SIGN_IN or TEST."""

    purpose: str
    next_url: str
    nonce: str
    code_verifier: str
    fingerprint: str
    user_id: int | None


def authorization_url(request: HttpRequest, row: OIDCProvider, purpose: str, next_url: str = "") -> str:
    """Keep what the way back needs in the session and return the address to go to. Raises SignInRefused."""
    provider = ProviderAdapter(request, str(row.pk))
    try:
        if purpose == TEST:
            discover(row.issuer)  # a test asks anew
        else:
            discover_for_visitor(row.issuer)
        answer = provider.get_provider().redirect(
            request, purpose, next_url, fingerprint=row.fingerprint, user_id=request.user.pk
        )
    except Overloaded as error:
        raise SignInRefused("busy", str(error)) from error
    except (InvalidInput, Unavailable) as error:
        raise SignInRefused("provider_error", str(error)) from error
    return str(answer.url)


def take_begun(request: HttpRequest, provider_id: int) -> Begun | None:
    """What the sign-in that this answer belongs to was begun with; None if this browser began none, or it was used before.

    allauth lets it be used once, and for ten minutes.
    """
    state = statekit.unstash_state(request, provider_id=str(provider_id), state_id=request.GET.get("state", ""))
    if state is None:
        return None
    return Begun(
        purpose=state["process"],
        next_url=state.get("next", ""),
        nonce=state["nonce"],
        code_verifier=state["pkce_code_verifier"],
        fingerprint=state["fingerprint"],
        user_id=state["user_id"],
    )


def verified_claims(request: HttpRequest, row: OIDCProvider, begun: Begun) -> dict[str, Any]:
    """Exchange the code and return the claims of the ID token and of userinfo, all of one subject. Raises SignInRefused."""
    if begun.fingerprint != row.fingerprint:
        raise SignInRefused("configuration_changed", "The connection was changed while the sign-in was under way.")
    provider = ProviderAdapter(request, str(row.pk))
    try:
        metadata = provider.openid_config
        _check_answer(request, row, metadata)
        answer = _exchanged(request, provider, begun)
        keys = fetch_json(metadata["jwks_uri"])
        claims = id_token.verify(
            answer["id_token"], issuer=row.issuer, client_id=row.client_id, nonce=begun.nonce, keys=keys
        )
        return _with_userinfo(claims, metadata, answer["access_token"])
    except (InvalidInput, Unavailable) as error:
        raise SignInRefused("provider_error", str(error)) from error


def _check_answer(request: HttpRequest, row: OIDCProvider, metadata: Metadata) -> None:
    """Check that the answer is this provider's (RFC 9207, Section 2.4) and no error (RFC 6749, Section 4.1.2.1)."""
    issuer = request.GET.get("iss")
    if issuer != row.issuer and (
        issuer is not None or metadata.get("authorization_response_iss_parameter_supported") is True
    ):
        raise SignInRefused("issuer_mismatch", f"The answer comes from the issuer {issuer!r}.")
    if error := request.GET.get("error"):
        detail = f"The provider answers {error}: {request.GET.get('error_description', '')}"[:_DETAIL_CHARS_MAX]
        raise SignInRefused("cancelled" if error == "access_denied" else "provider_error", detail)
    if not request.GET.get("code"):
        raise SignInRefused("provider_error", "The provider's answer holds no code.")


def _exchanged(request: HttpRequest, provider: ProviderAdapter, begun: Begun) -> dict[str, str]:
    """The token endpoint's answer to the code: access_token and id_token."""
    app = provider.get_provider().app
    client = provider.get_client(request, app)
    try:
        answer = provider.get_access_token_data(request, app, client, pkce_code_verifier=begun.code_verifier)
    except (OAuth2Error, requests.RequestException) as error:
        raise SignInRefused("provider_error", f"No token was given. {error}"[:_DETAIL_CHARS_MAX]) from error
    except (LookupError, ValueError, TypeError) as error:
        # allauth reads the answer as it comes: no content type, no object, no UTF-8.
        raise SignInRefused("provider_error", "The token endpoint's answer cannot be understood.") from error
    if not isinstance(answer.get("id_token"), str) or not isinstance(answer.get("access_token"), str):
        raise SignInRefused("token_invalid", "The token endpoint gave no ID token. Is openid among the scopes?")
    return answer


def _with_userinfo(claims: dict[str, Any], metadata: Metadata, access_token: str) -> dict[str, Any]:
    """The claims with those of the userinfo endpoint; what both say, the signed token says."""
    url = metadata.get("userinfo_endpoint")
    if url is None:
        return claims
    more = fetch_json(url, Authorization=f"Bearer {access_token}")
    if more.get("sub") != claims["sub"]:
        # OpenID Connect Core, Section 5.3.2: or one person's token could be dressed with another's address.
        raise SignInRefused("token_invalid", "The userinfo endpoint answers for another subject.")
    merged = more | claims
    if claims.get("email") != more.get("email"):
        # Who vouches for one address has not vouched for the other.
        merged["email_verified"] = (claims if "email" in claims else more).get("email_verified")
    return merged
