"""Token → KeyPrincipal: the one check that every program's request passes.

What is answered here may be up to `CACHE_S` seconds old, because asking the database for each event would cost more than
storing the event. A key revoked in this process stops at once; one revoked by another process stops within 2 seconds.
"""

from __future__ import annotations

import hmac
import logging
import time
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from opssentinal.apikeys import token as tokens
from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.principal import KeyPrincipal
from opssentinal.errors import Unauthenticated, Unavailable
from opssentinal.networks import network_of

CACHE_S = 2.0
CACHE_KEYS_MAX = 4_096
LAST_USED_EVERY = timedelta(minutes=1)

_HINT = "Send Authorization: Bearer ops_… with a key from Settings → API keys."
log = logging.getLogger(__name__)
# Digest of the token → when it was looked up (monotonic seconds), in which generation, and what was found. Whole entries
# are put in and taken out, each in one step under the interpreter lock, so threads share it without a lock of its own.
_cache: dict[str, tuple[float, object, KeyPrincipal | Unauthenticated]] = {}
# Public id → when its use was last written by this process (monotonic seconds).
_noted: dict[str, float] = {}
# A new one whenever a key has been changed here. A look-up belongs to the generation in which it began, so that one which
# read the key just before it was revoked, and ends after, puts nothing into the cache that would be believed.
_generation = object()


def bearer_token(authorization: str) -> str:
    """Return the token of an `Authorization` header. Raises Unauthenticated if there is none."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("The request carries no API key.", code="no_api_key", hint=_HINT)
    return token.strip()


def authenticate(token: str) -> KeyPrincipal:
    """Return the principal of a token. Raises Unauthenticated for one that is malformed, unknown, expired or revoked.

    A token whose checksum is wrong costs no look-up. May ask the database: not for an event loop (`authenticate_cached`
    is). What is found is kept for `CACHE_S` seconds, so a key that is revoked elsewhere stops within 2 seconds; expiry is
    exact.
    """
    principal = authenticate_cached(token)
    if principal is not None:
        return principal
    digest, generation = tokens.digest(token), _generation
    try:
        found = _look_up(tokens.public_id(token), digest)
    except DatabaseError as error:
        raise Unavailable("API keys cannot be checked now.", hint="Try again.") from error
    if len(_cache) >= CACHE_KEYS_MAX:
        _cache.clear()
    _cache[digest] = (time.monotonic(), generation, found)
    return _unexpired(found)


def authenticate_cached(token: str, digest: str = "") -> KeyPrincipal | None:
    """Return the principal if it was looked up in the last `CACHE_S` seconds, None if it has to be. Never blocks.

    `digest` is the token's, where the caller has it at hand.
    """
    entry = _cache.get(digest or tokens.digest(token))
    if entry is not None and entry[1] is _generation and time.monotonic() - entry[0] < CACHE_S:
        return _unexpired(entry[2])
    if not tokens.is_well_formed(token):
        raise Unauthenticated("This is no API key: its form or its checksum is wrong.", code="invalid_key", hint=_HINT)
    return None


def is_use_noted(principal: KeyPrincipal) -> bool:
    """Whether this process has written that the key is used, less than a minute ago. Never blocks."""
    noted = _noted.get(principal.id)
    return noted is not None and time.monotonic() - noted < LAST_USED_EVERY.total_seconds()


def note_use(principal: KeyPrincipal) -> None:
    """Write `last_used_at` if it is a minute old, once it is known that the key may be used from where it is.

    Reading the log must go on when nothing can be written any more.
    """
    if is_use_noted(principal):
        return
    if len(_noted) >= CACHE_KEYS_MAX:
        _noted.clear()
    _noted[principal.id] = time.monotonic()
    now = timezone.now()
    # In the future where the clock was ahead for a while.
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_EVERY) | Q(last_used_at__gt=now)
    try:
        with transaction.atomic():
            APIKey.objects.filter(stale, public_id=principal.id).update(last_used_at=now)
    except DatabaseError as error:
        log.warning("The last use of the API key %s could not be written: %s", principal.id, error)


def forget_cached() -> None:
    """Forget every key looked up so far; called once a key has been changed in this process."""
    global _generation
    _generation = object()
    _cache.clear()


def _unexpired(found: KeyPrincipal | Unauthenticated) -> KeyPrincipal:
    if isinstance(found, Unauthenticated):
        raise Unauthenticated(found.detail, code=found.code, hint=found.hint)
    if found.expires_at is not None and found.expires_at <= datetime.now(UTC):
        raise Unauthenticated(f"The API key {found.id} has expired.", code="key_expired", hint=_HINT)
    return found


def _look_up(public_id: str, digest: str) -> KeyPrincipal | Unauthenticated:
    key = APIKey.objects.select_related("created_by").filter(public_id=public_id).first()
    if key is None or not hmac.compare_digest(key.token_sha256, digest):
        return Unauthenticated("There is no such API key.", code="invalid_key", hint=_HINT)
    if key.revoked_at is not None:
        return Unauthenticated(f"The API key {public_id} was revoked.", code="key_revoked", hint=_HINT)
    if key.created_by is not None and not (key.created_by.is_admin and key.created_by.can_sign_in):
        return Unauthenticated(
            f"The API key {public_id} ended, since the account that created it is not an active admin any more.",
            code="key_revoked",
            hint=_HINT,
        )
    return KeyPrincipal(
        id=key.public_id,
        name=key.name,
        source=key.source,
        tenant=key.tenant,
        scopes=frozenset(key.scopes),
        networks=tuple(network_of(text) for text in key.networks),
        expires_at=key.expires_at,
    )
