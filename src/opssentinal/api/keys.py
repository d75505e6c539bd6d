"""API keys over HTTP. A key makes no key that may do more than itself: in scope, tenant, network or time."""

from __future__ import annotations

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Router

from opssentinal.api import shapes
from opssentinal.api.authorization import Scope, key_context, principal_of
from opssentinal.api.bodies import body_of
from opssentinal.api.document import described, json_body
from opssentinal.api.paging import page_of
from opssentinal.api.parameters import CURSOR, LIMIT, refuse_unknown
from opssentinal.api.responses import json_response
from opssentinal.apikeys import services
from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.principal import KEYS_ADMIN, KeyPrincipal
from opssentinal.errors import Forbidden
from opssentinal.networks import network_of

router = Router(tags=["API keys"])


@router.get(
    "/api-keys",
    auth=Scope(KEYS_ADMIN),
    operation_id="listAPIKeys",
    summary="List API keys",
    openapi_extra=described(
        {200: ("API keys, newest first.", shapes.KeyPage)}, parameters=[LIMIT.documented(), CURSOR.documented()]
    ),
)
def list_keys(request: HttpRequest) -> HttpResponse:
    """Every key, also expired and revoked ones; a key bound to a tenant sees those of its tenant."""
    found, following = page_of(request, services.keys_of(principal_of(request).tenant))
    return json_response(shapes.KeyPage([_item(key) for key in found], following, following is not None))


@router.post(
    "/api-keys",
    auth=Scope(KEYS_ADMIN),
    operation_id="createAPIKey",
    summary="Create an API key",
    openapi_extra=described(
        {201: ("The key with its token, which is shown only here.", shapes.CreatedKeyItem)},
        body=json_body(shapes.KeyRequest, billing={"name": "Billing", "source": "billing", "scopes": ["events:write"]}),
        errors=(413, 415),
        leads_to={"key_id=id": ("revokeAPIKey",)},
    ),
)
def create_key(request: HttpRequest) -> HttpResponse:
    """Create a key with at most the scopes of the key that asks, and within its tenant, networks and expiry if it has
    them. It ends with the same account. Recorded as api_key.created.
    """
    refuse_unknown(request, ())
    principal = principal_of(request)
    asked = body_of(request, shapes.KeyRequest)
    _refuse_more_than(principal, asked)
    asking = APIKey.objects.select_related("created_by").get(public_id=principal.id)
    made = services.create_key(
        actor=principal.actor(),
        context=key_context(request),
        name=asked.name,
        source=asked.source,
        scopes=asked.scopes,
        tenant=principal.tenant or asked.tenant,
        expires_at=asked.expires_at or principal.expires_at,
        networks=asked.networks or map(str, principal.networks),
        created_by=asking.created_by,
    )
    facts = services.key_facts(made.key) | {"token": made.token}
    return json_response(msgspec.convert(facts, shapes.CreatedKeyItem), 201)


@router.delete(
    "/api-keys/{key_id}",
    auth=Scope(KEYS_ADMIN),
    operation_id="revokeAPIKey",
    summary="Revoke an API key",
    openapi_extra=described({200: ("The key, revoked.", shapes.KeyItem)}, errors=(404, 409)),
)
def revoke_key(request: HttpRequest, key_id: str) -> HttpResponse:
    """Revoke a key; it stops within two seconds. Recorded as api_key.revoked. 409 if it was revoked before."""
    refuse_unknown(request, ())
    principal = principal_of(request)
    key = services.revoke_key(key_id, actor=principal.actor(), context=key_context(request), tenant=principal.tenant)
    return json_response(_item(key))


def _refuse_more_than(principal: KeyPrincipal, asked: shapes.KeyRequest) -> None:
    if more := set(asked.scopes) - principal.scopes:
        raise Forbidden(
            f"The API key {principal.id} cannot grant {min(more)}, which it does not have.", code="insufficient_scope"
        )
    if principal.tenant is not None and asked.tenant not in (None, principal.tenant):
        raise Forbidden(f"The API key {principal.id} is bound to another tenant.", code="wrong_tenant")
    if principal.expires_at is not None and asked.expires_at is not None and asked.expires_at > principal.expires_at:
        raise Forbidden(f"The API key {principal.id} expires before that.", code="later_expiry")
    if principal.networks and not all(_is_within(text, principal) for text in asked.networks):
        raise Forbidden(f"The API key {principal.id} may not be used from all of these networks.", code="wider_network")


def _is_within(text: str, principal: KeyPrincipal) -> bool:
    try:
        network = network_of(text.strip())
    except ValueError:
        return True  # making the key refuses it and says why
    # subnet_of wants both of one version, which the comparison makes sure of.
    return any(network.version == own.version and network.subnet_of(own) for own in principal.networks)  # type: ignore[arg-type]


def _item(key: APIKey) -> shapes.KeyItem:
    return msgspec.convert(services.key_facts(key), shapes.KeyItem)
