"""Making and revoking API keys, each in one transaction with the event that tells of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import IntegrityError, transaction
from django.utils import timezone

from opssentinal.apikeys import token as tokens
from opssentinal.apikeys.authentication import forget_cached
from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.principal import SCOPES
from opssentinal.errors import Conflict, InvalidInput, NotFound
from opssentinal.events.model import SOURCE_PATTERN, Actor, Context, Event, Target, rfc3339
from opssentinal.ledger.recording import recording
from opssentinal.networks import network_of
from opssentinal.workspace.principals import SOURCE

if TYPE_CHECKING:
    from opssentinal.workspace.models import User

NETWORKS_MAX = 50
_SOURCE = re.compile(SOURCE_PATTERN)


class CreatedKey(NamedTuple):
    """A key just made. `token` exists here only: it is shown once and stored nowhere."""

    key: APIKey
    token: str


def create_key(
    *,
    actor: Actor,
    context: Context,
    name: str,
    source: str,
    scopes: Iterable[str],
    tenant: str | None = None,
    expires_at: datetime | None = None,
    networks: Iterable[str] = (),
    created_by: User | None = None,
    public_id: str | None = None,
) -> CreatedKey:
    """Create a key and record `api_key.created`. Raises InvalidInput, whose `path` names the field.

    `public_id` (of `token.make_public_id`) may be chosen beforehand, so that a request which is sent again makes no second
    key: Conflict if it is taken, as decided by the database.
    """
    name, tenant = _line("name", name, 100), _line("tenant", tenant, 128) if tenant else None
    source = _checked_source(source)
    scopes = _checked_scopes(scopes)
    networks = _checked_networks(networks)
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInput("must lie in the future", path="expires_at")
    token = tokens.make_token(public_id)
    key = APIKey(
        public_id=tokens.public_id(token),
        token_sha256=tokens.digest(token),
        name=name,
        source=source,
        tenant=tenant,
        scopes=scopes,
        networks=networks,
        expires_at=expires_at,
        created_by=created_by,
        created_by_name=(actor.name or actor.email or actor.id)[:320],
    )
    with recording() as record:
        try:
            key.save(force_insert=True)
        except IntegrityError as error:
            raise Conflict(f"There is an API key {key.public_id} already.", code="key_exists") from error
        record(_event("api_key.created", key, actor, context))
    return CreatedKey(key, token)


def revoke_key(public_id: str, *, actor: Actor, context: Context, tenant: str | None = None) -> APIKey:
    """Revoke a key and record `api_key.revoked`; with `tenant`, only one that is bound to it.

    Raises NotFound, and Conflict if it has been revoked before. The key stops in this process at once, in others within
    2 seconds.
    """
    with recording() as record:
        mine = (
            APIKey.objects.filter(public_id=public_id)
            if tenant is None
            else keys_of(tenant).filter(public_id=public_id)
        )
        key = mine.first()
        if key is None:
            raise NotFound(f"There is no API key {public_id!r}.")
        # Decided by the database, so that of two people who revoke at once only one is recorded.
        if not mine.filter(revoked_at=None).update(revoked_at=timezone.now()):
            raise Conflict(f"The API key {public_id} was revoked before.", code="key_revoked")
        key.refresh_from_db()
        record(_event("api_key.revoked", key, actor, context))
    forget_cached()
    return key


def revoke_keys_made_by(user: User, record: Callable[[Event], None], actor: Actor, context: Context) -> int:
    """Revoke the keys that an account made and record api_key.revoked for each, inside the caller's recording().

    Returns how many. They stop in this process when the caller's transaction commits, in others within 2 seconds.
    """
    keys = list(APIKey.objects.select_for_update().filter(created_by=user, revoked_at=None).order_by("pk"))
    APIKey.objects.filter(pk__in=[key.pk for key in keys]).update(revoked_at=timezone.now())
    for key in keys:
        record(_event("api_key.revoked", key, actor, context))
    transaction.on_commit(forget_cached)
    return len(keys)


def keys_of(tenant: str | None = None) -> Any:
    """The keys, newest first; with `tenant`, only those bound to it."""
    keys = APIKey.objects.all()
    return keys if tenant is None else keys.filter(tenant=tenant)


def key_facts(key: APIKey) -> dict[str, Any]:
    """What the API and the command say of a key: everything but its secret, ready for JSON."""
    return {
        "id": key.public_id,
        "name": key.name,
        "source": key.source,
        "tenant": key.tenant,
        "scopes": key.scopes,
        "networks": key.networks,
        "state": key.state,
        "created_at": rfc3339(key.created_at),
        "created_by": key.created_by_name,
        "expires_at": key.expires_at and rfc3339(key.expires_at),
        "last_used_at": key.last_used_at and rfc3339(key.last_used_at),
        "revoked_at": key.revoked_at and rfc3339(key.revoked_at),
    }


def _event(action: str, key: APIKey, actor: Actor, context: Context) -> Event:
    said: dict[str, Any] = {"scopes": key.scopes, "source": key.source}
    if key.tenant:
        said["tenant"] = key.tenant
    if key.networks:
        said["networks"] = key.networks
    if key.expires_at:
        said["expires_at"] = rfc3339(key.expires_at)
    return Event(
        action=action,
        outcome="success",
        actor=actor,
        targets=[Target(type="api_key", id=key.public_id, name=key.name)],
        context=context,
        metadata=said,
    )


def _line(field: str, text: str, chars_max: int) -> str:
    text = text.strip()
    if not text or len(text) > chars_max:
        raise InvalidInput(f"must have 1 to {chars_max} characters", path=field)
    if not text.isprintable():
        raise InvalidInput("must be one line of printable characters", path=field)
    return text


def _checked_source(source: str) -> str:
    if len(source) > 64 or not _SOURCE.fullmatch(source):
        raise InvalidInput(
            "must be a program's name in lower case, such as billing or auth-service, of at most 64 characters",
            path="source",
        )
    if source == SOURCE:
        raise InvalidInput("is the product's own source; no key may speak for it", path="source")
    return source


def _checked_scopes(scopes: Iterable[str]) -> list[str]:
    given = set(scopes)
    if unknown := given - SCOPES.keys():
        raise InvalidInput(f"there is no scope {min(unknown)!r}; there are {', '.join(SCOPES)}", path="scopes")
    if not given:
        raise InvalidInput(f"choose at least one of {', '.join(SCOPES)}", path="scopes")
    return [scope for scope in SCOPES if scope in given]


def _checked_networks(networks: Iterable[str]) -> list[str]:
    found: list[str] = []
    for text in networks:
        try:
            found.append(str(network_of(text.strip())))
        except ValueError as error:
            raise InvalidInput(
                f"“{text.strip()[:64]}” is no address or network, such as 10.0.0.0/8", path="networks"
            ) from error
    if len(found) > NETWORKS_MAX:
        raise InvalidInput(f"may hold at most {NETWORKS_MAX} networks", path="networks")
    return found
