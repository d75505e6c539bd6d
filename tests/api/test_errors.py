"""Whatever goes wrong below /api/ is a problem document; nothing redirects, nothing is a page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from opssentinal.api import authorization
from opssentinal.apikeys import token as tokens
from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.principal import SCOPES
from opssentinal.apikeys.rate import RateLimit
from opssentinal.ledger.reader import newest

from .conftest import Caller, put


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/events/", 404, "not_found"),
        ("GET", "/../v2/events", 404, "not_found"),
        ("PUT", "/events", 405, "method_not_allowed"),
        ("DELETE", "/events/1", 405, "method_not_allowed"),
        ("GET", "/events/999", 404, "not_found"),
        ("GET", "/events/not-an-id", 404, "not_found"),
        ("GET", "/events/0193a4c2-7d1e-7c3a-9b52-6f1f2f0c9d11", 404, "not_found"),
        ("GET", "/events/99999999999999999999999999", 404, "not_found"),
        ("GET", "/events?actr=alice", 400, "unknown_parameter"),
        ("GET", "/events?limit=0", 400, "invalid_input"),
        ("GET", "/events?limit=1001", 400, "invalid_input"),
        ("GET", "/events?limit=ten", 400, "invalid_input"),
        ("GET", "/events?limit=1&limit=2", 400, "invalid_input"),
        ("GET", "/events?limit=%F0%9D%9F%8F", 400, "invalid_input"),
        ("GET", "/events?order=sideways", 400, "invalid_input"),
        ("GET", "/events?cursor=AAAA", 400, "invalid_cursor"),
        ("GET", "/events?outcome=maybe", 400, "invalid_query"),
        ("GET", "/events?from=yesterdayish", 400, "invalid_query"),
        ("GET", "/events?q=%22", 400, "invalid_query"),
        ("GET", "/events?after_seq=-2", 400, "invalid_input"),
        ("GET", "/events?after_seq=0&actor=alice", 400, "invalid_input"),
        ("GET", "/events/1?limit=1", 400, "unknown_parameter"),
        ("GET", "/events/facets?field=nothing", 400, "invalid_input"),
        ("GET", "/events/histogram?tz=Mars/Olympus", 400, "invalid_query"),
        ("GET", "/events/histogram?tz=../../etc/passwd", 400, "invalid_query"),
        ("GET", "/exports/exp_0", 404, "not_found"),
        ("GET", "/exports?cursor=exp_0", 400, "invalid_cursor"),
        ("DELETE", "/api-keys/00000000", 404, "not_found"),
        ("POST", "/exports", 400, "invalid_input"),
        ("POST", "/api-keys", 400, "invalid_input"),
        ("POST", "/events", 400, "malformed_json"),
    ],
)
def test_problems(caller: Callable[..., Caller], method: str, path: str, status: int, code: str) -> None:
    """Each error has its status, its code and the members of RFC 9457."""
    answer = caller()(method, path, b" " if method == "POST" else None)
    assert (answer.status_code, answer.json_["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance"} <= answer.json_.keys()
    assert answer.json_["status"] == status
    assert answer.json_["instance"] == answer.headers["X-Request-Id"]
    if status == 405:
        assert answer.headers["Allow"]


def test_a_misspelt_parameter_is_answered_with_the_right_one(caller: Callable[..., Caller]) -> None:
    """The hint names the nearest parameter."""
    assert "actor" in caller().get("/events?actr=alice").json_["hint"]


@pytest.mark.parametrize("path", ["/events", "/events/0", "/event-types", "/exports", "/api-keys", "/events/facets"])
def test_without_a_key(path: str) -> None:
    """401 with WWW-Authenticate and never a redirect to a sign-in page or to /setup; a session of a browser is no key."""
    for authorization_ in ("", "Bearer nonsense", "Bearer " + tokens.make_token(), "Basic YTpi"):
        answer = Client().get("/api/v1" + path, headers={"authorization": authorization_} if authorization_ else {})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("events:write", "POST", "/events"),
        ("events:read", "GET", "/events"),
        ("events:read", "GET", "/events/0"),
        ("events:read", "GET", "/events/facets"),
        ("events:read", "GET", "/events/histogram"),
        ("events:read", "GET", "/event-types"),
        ("exports:read", "GET", "/exports"),
        ("exports:read", "GET", "/exports/exp_1"),
        ("exports:read", "GET", "/exports/exp_1/file"),
        ("exports:write", "POST", "/exports"),
        ("exports:write", "DELETE", "/exports/exp_1"),
        ("incidents:read", "GET", "/incidents"),
        ("incidents:read", "GET", "/incidents/1"),
        ("incidents:write", "POST", "/incidents"),
        ("incidents:write", "PATCH", "/incidents/1"),
        ("incidents:write", "POST", "/incidents/1/notes"),
        ("incidents:write", "POST", "/incidents/1/events"),
        ("keys:admin", "GET", "/api-keys"),
        ("keys:admin", "POST", "/api-keys"),
        ("keys:admin", "DELETE", "/api-keys/00000000"),
    ],
)
def test_without_the_scope(caller: Callable[..., Caller], scope: str, method: str, path: str) -> None:
    """With every scope but the one that is needed an operation is 403; the first time in a minute it is recorded."""
    put("one")
    program = caller(scopes=list(set(SCOPES) - {scope}))
    for _ in range(3):
        answer = program(method, path)
        assert (answer.status_code, answer.json_["code"]) == (403, "insufficient_scope")
    denials = [event for event in newest(9) if event.action == "access.denied"]
    assert [(event.targets[0].id, event.actor and event.actor.type) for event in denials] == [(scope, "api_key")]


def test_a_key_used_from_elsewhere_leaves_a_trace(caller: Callable[..., Caller]) -> None:
    """403 outside of the key's networks, recorded once a minute whatever is asked for; the key does not count as used."""
    program = caller(networks=["10.0.0.0/8"])
    for path in ("/events", "/exports", "/event-types"):
        answer = program.get(path)
        assert (answer.status_code, answer.json_["code"]) == (403, "network_not_allowed")
    (denied,) = [event for event in newest(9) if event.action == "access.denied"]
    assert (denied.actor and denied.actor.name, denied.context.ip) == ("Billing", "127.0.0.1")
    assert denied.metadata == {"method": "GET", "path": "/api/v1/events", "reason": "network_not_allowed"}
    assert APIKey.objects.get().last_used_at is None
    assert caller(name="Auth").get("/event-types").status_code == 200
    assert APIKey.objects.get(name="Auth").last_used_at is not None


def test_the_rate_limit(caller: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch) -> None:
    """A key over its share gets 429 with Retry-After; what is left stands in every answer; another key has its own."""
    monkeypatch.setattr(authorization, "REQUESTS", RateLimit("requests", 2))
    program = caller()
    assert program.get("/event-types").headers["RateLimit"].startswith('"requests";r=1;')
    assert program.get("/event-types").status_code == 200
    answer = program.get("/event-types")
    assert (answer.status_code, answer.json_["code"]) == (429, "rate_limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert caller(source="auth").get("/event-types").status_code == 200


def test_a_fault_of_ours_says_nothing_of_itself(caller: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen error is a plain 500 problem with the request's id, and no word of its cause."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("opssentinal.api.events.event_for", broken)
    answer = caller().get("/events/0", x_request_id="req-7")
    assert (answer.status_code, answer.json_["instance"]) == (500, "req-7")
    assert b"secret" not in answer.content and b"ZeroDivision" not in answer.content
