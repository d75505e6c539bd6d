"""Whose events they are: the key decides who may send, from where, how much, and as which source and tenant."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from opssentinal.apikeys import authentication
from opssentinal.apikeys import token as tokens
from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.principal import EVENTS_READ
from opssentinal.apikeys.rate import RateLimit
from opssentinal.apikeys.services import revoke_key
from opssentinal.events.model import Context, RecordedEvent
from opssentinal.ledger.reader import newest

from .conftest import ALICE, Client, event, sent_events


def denials() -> list[RecordedEvent]:
    return [event for event in newest(50) if event.action == "access.denied"]


def test_source_and_tenant_come_from_the_key(client: Client, make_token: Callable[..., str]) -> None:
    """What the body says of source or tenant may agree with the key and is rejected where it does not."""
    bound = Client(client.port, make_token(tenant="acme"))
    answer = bound.post([event(), event(source="billing", tenant="acme"), event(source="auth"), event(tenant="other")])
    assert [result["status"] for result in answer.body["results"]] == ["accepted", "accepted", "rejected", "rejected"]
    assert [answer.body["results"][n]["error"]["path"] for n in (2, 3)] == ["$.source", "$.tenant"]
    assert [(recorded.source, recorded.tenant) for recorded in sent_events()] == [("billing", "acme")] * 2
    assert client.post(event(tenant="other")).status == 201
    assert client.post(event(context={"api_key": "forged"})).body["results"][0]["error"]["path"] == "$.context.api_key"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "no_api_key"),
        ("Basic dXNlcjpwYXNz", "no_api_key"),
        ("Bearer", "no_api_key"),
        ("Bearer nonsense", "invalid_key"),
        ("Bearer " + tokens.make_token(), "invalid_key"),
    ],
    ids=["none", "another scheme", "empty", "no token", "unknown"],
)
def test_requests_without_a_valid_key_are_401(client: Client, header: str, code: str) -> None:
    """No key, another scheme, nonsense and an unknown key are 401 with WWW-Authenticate; nothing is recorded."""
    answer = client.post(event(), Authorization=header)
    assert (answer.status, answer.body["code"]) == (401, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert sent_events() == []


def test_a_revoked_key_stops_within_two_seconds(client: Client) -> None:
    """A key that another process revoked is refused 2 seconds later at the latest; one revoked here at once."""
    assert client.post(event()).status == 201
    # Another process changes the row; nothing tells this one.
    APIKey.objects.update(revoked_at=timezone.now())
    revoked = time.monotonic()
    started = revoked
    while client.post(event()).status == 201:
        assert started <= revoked + 2.0
        started = time.monotonic()
    assert client.post(event()).body["code"] == "key_revoked"


def test_a_key_revoked_in_this_process_stops_at_once(client: Client) -> None:
    """Revoking forgets what is cached."""
    assert client.post(event()).status == 201
    revoke_key(tokens.public_id(client.token), actor=ALICE, context=Context())
    assert client.post(event()).status == 401


def test_an_expired_key_is_401_also_from_the_cache(
    client: Client, make_token: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key stops at its expiry, not 2 seconds later."""
    short = Client(client.port, make_token(expires_at=timezone.now() + timedelta(hours=1)))
    assert short.post(event()).status == 201

    class InAnHour(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=1)

    monkeypatch.setattr(authentication, "CACHE_S", 3600)
    monkeypatch.setattr(authentication, "datetime", InAnHour)
    answer = short.post(event())
    assert (answer.status, answer.body["code"]) == (401, "key_expired")
    assert len(sent_events()) == 1


def test_a_key_without_the_scope_is_403(client: Client, make_token: Callable[..., str]) -> None:
    """A reading key cannot write; that it tried is recorded, once a minute."""
    reading = Client(client.port, make_token(scopes=[EVENTS_READ]))
    for _ in range(2):
        answer = reading.post(event())
        assert (answer.status, answer.body["code"]) == (403, "insufficient_scope")
    assert [denial.targets[0].id for denial in denials()] == ["events:write"]


def test_a_key_of_other_networks_is_403(client: Client, make_token: Callable[..., str]) -> None:
    """A key limited to networks works from there only, whatever X-Forwarded-For claims."""
    assert Client(client.port, make_token(networks=["127.0.0.0/8"])).post(event()).status == 201
    answer = Client(client.port, make_token(networks=["10.0.0.0/8"])).post(event(), X_Forwarded_For="10.1.2.3")
    assert (answer.status, answer.body["code"]) == (403, "network_not_allowed")


def test_a_key_used_from_elsewhere_leaves_a_trace(client: Client, make_token: Callable[..., str]) -> None:
    """access.denied tells which key and from where, once a minute; the key does not count as used."""
    token = make_token(networks=["10.0.0.0/8"])
    for _ in range(3):
        Client(client.port, token).post(event(), User_Agent="stolen/1.0")
    (denied,) = denials()
    assert denied.actor is not None
    assert (denied.actor.type, denied.actor.id) == ("api_key", tokens.public_id(token))
    assert (denied.context.ip, denied.context.user_agent) == ("127.0.0.1", "stolen/1.0")
    assert denied.metadata == {"method": "POST", "path": "/api/v1/events", "reason": "network_not_allowed"}
    assert APIKey.objects.get(public_id=tokens.public_id(token)).last_used_at is None
    assert client.post(event()).status == 201
    assert APIKey.objects.get(public_id=tokens.public_id(client.token)).last_used_at is not None


def test_the_rate_limit(serve: Callable[..., int], make_token: Callable[..., str]) -> None:
    """A key's events a minute are limited; what is over is 429 with Retry-After; other keys have their own share."""
    limited = Client(serve(RateLimit("events", 10)), make_token())
    answer = limited.post([event() for _ in range(7)])
    assert answer.status == 201
    assert answer.headers["RateLimit-Policy"] == '"events";q=10;w=60'
    assert answer.headers["RateLimit"].startswith('"events";r=3;t=')
    refused = limited.post([event() for _ in range(7)])
    assert (refused.status, refused.body["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert len(sent_events()) == 7
    assert Client(limited.port, make_token(source="auth")).post(event()).status == 201
