"""The check of an ID token: OpenID Connect Core 1.0, Section 3.1.3.7, with the signature checked in any case.

The standard lets a client skip the signature of a token that it fetched over TLS, and allauth does. An audit log should not
depend on that: whoever stands between us and the token endpoint would be anybody he likes.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

import jwt

from opssentinal.sso.refusal import SignInRefused

# Signatures by a key that only the provider has. Never `none`; never HS256, whose key would be a public key to some.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY_S = 60
SUBJECT_MAX = 255
_CLAIMS = ["iss", "sub", "aud", "exp", "iat"]


def verify(token: str, *, issuer: str, client_id: str, nonce: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims of a token that `issuer` made for `client_id` in answer to the request with `nonce`.

    `keys` is the provider's JWK set (RFC 7517). Raises SignInRefused: token_invalid, token_expired or nonce_mismatch.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            _key(token, keys),
            issuer=issuer,
            audience=client_id,
            leeway=LEEWAY_S,
            options={"require": _CLAIMS, "enforce_minimum_key_length": True},
        )
    except jwt.ExpiredSignatureError as error:
        raise SignInRefused("token_expired", "The ID token has expired.") from error
    except (jwt.PyJWTError, ValueError, TypeError) as error:  # the latter from keys that are malformed
        raise SignInRefused("token_invalid", f"The ID token is not valid: {error}") from error
    _check_parties(claims, client_id)
    said = claims.get("nonce")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        raise SignInRefused("nonce_mismatch", "The ID token does not answer this sign-in: its nonce is another.")
    return claims


def _check_parties(claims: Mapping[str, Any], client_id: str) -> None:
    if not 0 < len(claims["sub"]) <= SUBJECT_MAX:
        raise SignInRefused("token_invalid", f"The subject must have 1 to {SUBJECT_MAX} characters.")
    authorized = claims.get("azp")
    audiences = claims["aud"]
    if authorized not in (None, client_id) or (
        authorized is None and isinstance(audiences, list) and len(audiences) > 1
    ):
        raise SignInRefused("token_invalid", "The ID token was made for another client (azp).")


def _key(token: str, keys: Mapping[str, Any]) -> jwt.PyJWK:
    """The provider's key that the token says to be signed with."""
    header = jwt.get_unverified_header(token)
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise jwt.InvalidAlgorithmError(f"signed with {algorithm!r}")
    listed = keys.get("keys")
    fitting = [
        key
        for key in (listed if isinstance(listed, list) else [])
        if isinstance(key, dict)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and header.get("kid") in (None, key.get("kid"))
        and key.get("kty") == _key_type(algorithm)
    ]
    if len(fitting) != 1:
        raise jwt.InvalidKeyError(f"{len(fitting)} of the provider's keys fit kid {header.get('kid')!r}")
    return jwt.PyJWK(fitting[0], algorithm=algorithm)


def _key_type(algorithm: str) -> str:
    return {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}[algorithm[:2]]
