"""The provider's own description, fetched and checked. OpenID Connect Discovery 1.0, Sections 3 and 4."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from django.core.cache import cache

from opssentinal.errors import InvalidInput, Overloaded, Unavailable
from opssentinal.outbound import Refused, check_url, session
from opssentinal.outbound.adapter import TOTAL_S

WELL_KNOWN = "/.well-known/openid-configuration"
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_CLIENT_METHODS = {"client_secret_basic", "client_secret_post"}

# How long metadata is believed, so that people who sign in one after the other need not wait for it each.
KEPT_S = 60
# Somebody who is not signed in makes the server ask, and a page thread waits: for a short time, and only so many at once.
VISITOR_TIMEOUT_S = 5.0
VISITORS_MAX = 2

Metadata = dict[str, Any]
_visitors = threading.BoundedSemaphore(VISITORS_MAX)


def discover(issuer: str, *, timeout_s: float = TOTAL_S) -> Metadata:
    """Fetch the metadata of an issuer. Raises InvalidInput for what is wrong with it, Unavailable if it cannot be had."""
    _check_issuer(issuer)
    found = checked(issuer, fetch_json(issuer.rstrip("/") + WELL_KNOWN, timeout_s=timeout_s))
    cache.set(_key(issuer), found, KEPT_S)
    return found


def discovered(issuer: str) -> Metadata:
    """The metadata as it was found in the last minute, else `discover`."""
    found: Metadata | None = cache.get(_key(issuer))
    return found or discover(issuer)


def discover_for_visitor(issuer: str) -> None:
    """Have the metadata in the cache, for somebody who is not signed in. Raises Overloaded while others wait for it too."""
    if cache.get(_key(issuer)) is not None:
        return
    with _one_of_few():
        discover(issuer, timeout_s=VISITOR_TIMEOUT_S)


@contextmanager
def _one_of_few() -> Iterator[None]:
    if not _visitors.acquire(blocking=False):
        raise Overloaded("Others are waiting for the provider already.")
    try:
        yield
    finally:
        _visitors.release()


def _key(issuer: str) -> str:
    return f"sso-metadata:{hashlib.sha256(issuer.encode()).hexdigest()}"


def checked(issuer: str, metadata: Metadata) -> Metadata:
    """The metadata with what the standard says of absent members, once it is found fit for us. Raises InvalidInput."""
    if metadata.get("issuer") != issuer:
        # Section 4.3: exactly, or one provider could pass itself off as another.
        raise InvalidInput(
            f"The provider calls itself {metadata.get('issuer')!r}, which is not the issuer entered.",
            hint="Enter it exactly so, if that is the provider you mean.",
        )
    for name in (*_NEEDED, "userinfo_endpoint"):
        url = metadata.get(name)
        if name in _NEEDED and not isinstance(url, str):
            raise InvalidInput(f"The provider names no {name}.")
        if url is not None:
            _check_endpoint(issuer, name, str(url))
    if "code" not in metadata.get("response_types_supported", ["code"]):
        raise InvalidInput("The provider does not support the authorization code flow (response type code).")
    methods = metadata.setdefault("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    if not _CLIENT_METHODS & set(methods):
        raise InvalidInput("The provider accepts no client secret (client_secret_basic or client_secret_post).")
    return metadata


def fetch_json(url: str, *, timeout_s: float = TOTAL_S, **headers: str) -> dict[str, Any]:
    """GET a JSON object through the guarded session. Raises Unavailable with the reason, InvalidInput for other content."""
    try:
        with session(timeout_s=timeout_s) as http:
            response = http.get(url, headers=headers)
    except requests.RequestException as error:
        raise Unavailable(f"{url} cannot be reached: {error}") from error
    if response.status_code != 200:
        raise Unavailable(f"{url} answers with status {response.status_code}.")
    try:
        found = response.json()
    except requests.JSONDecodeError as error:
        raise InvalidInput(f"{url} does not answer with JSON.") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{url} does not answer with a JSON object.")
    return found


def _check_issuer(issuer: str) -> None:
    try:
        parts = check_url(issuer)
    except Refused as error:
        raise InvalidInput(str(error)) from error
    if parts.query or parts.fragment or "?" in issuer or "#" in issuer:
        raise InvalidInput("An issuer has no query and no fragment.")
    if parts.path.rstrip("/").endswith(WELL_KNOWN):
        raise InvalidInput(f"Enter the issuer only, without {WELL_KNOWN}.")


def _check_endpoint(issuer: str, name: str, url: str) -> None:
    try:
        parts = check_url(url)
    except (InvalidInput, Refused) as error:
        raise InvalidInput(f"The provider's {name} cannot be used: {error}") from error
    home = urlsplit(issuer)
    # Browsers are sent to the authorization endpoint, which no request of ours checks: plain http only where the issuer,
    # permitted by the operator, is that very server.
    if parts.scheme != "https" and (parts.scheme, parts.netloc) != (home.scheme, home.netloc):
        raise InvalidInput(f"The provider's {name} does not begin with https://.")
