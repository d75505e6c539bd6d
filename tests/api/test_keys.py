"""API keys over the API: a key cannot make itself more powerful."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from opssentinal.apikeys.authentication import authenticate, forget_cached
from opssentinal.apikeys.models import APIKey
from opssentinal.ledger.reader import newest
from opssentinal.workspace.models import User

from .conftest import Caller

Make = Callable[..., Caller]
NEW: dict[str, Any] = {"name": "Auth", "source": "auth", "scopes": ["events:write"]}


def test_a_key_is_made_listed_and_revoked(caller: Make) -> None:
    """The token comes once, with the creation; the actor of the record is the key that asked."""
    program = caller()
    made = program.post("/api-keys", NEW)
    assert made.status_code == 201
    assert authenticate(made.json_["token"]).source == "auth"
    page = program.get("/api-keys")
    assert [key["name"] for key in page.json_["data"]] == ["Auth", "Billing"]
    assert made.json_["token"][12:] not in page.content.decode()
    created = newest(1)[0]
    assert (created.action, created.actor and created.actor.type) == ("api_key.created", "api_key")
    gone = program("DELETE", f"/api-keys/{made.json_['id']}")
    assert (gone.status_code, gone.json_["state"]) == (200, "revoked")
    assert program("DELETE", f"/api-keys/{made.json_['id']}").status_code == 409
    assert Caller(made.json_["token"]).post("/events", {}).json_["code"] == "key_revoked"


def test_no_more_scopes_than_its_own(caller: Make) -> None:
    """A key grants only what it has."""
    program = caller(scopes=["keys:admin", "events:write"])
    answer = program.post("/api-keys", NEW | {"scopes": ["events:write", "events:read"]})
    assert (answer.status_code, answer.json_["code"]) == (403, "insufficient_scope")
    assert APIKey.objects.count() == 1


def test_no_other_tenant_than_its_own(caller: Make) -> None:
    """A key bound to a tenant makes keys of that tenant, sees them only, and revokes no others."""
    other = caller(name="Other").token
    program = caller(tenant="acme", name="Bound")
    assert program.post("/api-keys", NEW | {"tenant": "other"}).status_code == 403
    assert program.post("/api-keys", NEW).json_["tenant"] == "acme"
    assert {key["name"] for key in program.get("/api-keys").json_["data"]} == {"Auth", "Bound"}
    assert other is not None
    assert program("DELETE", f"/api-keys/{other[4:12]}").status_code == 404
    assert authenticate(other)


def test_no_wider_networks_and_no_later_expiry_than_its_own(caller: Make) -> None:
    """A key that works in one network for a day makes keys that do the same, or less, whether or not it is asked to."""
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    program = caller(networks=["127.0.0.0/24"], expires_at=tomorrow)
    made = program.post("/api-keys", NEW).json_
    assert made["networks"] == ["127.0.0.0/24"]
    assert datetime.fromisoformat(made["expires_at"]) == tomorrow
    less = {"networks": ["127.0.0.1/32"], "expires_at": (tomorrow - timedelta(hours=1)).isoformat()}
    assert program.post("/api-keys", NEW | less).json_["networks"] == ["127.0.0.1/32"]
    longer = {"networks": ["::ffff:127.0.0.1"]}
    assert program.post("/api-keys", NEW | longer).json_["networks"] == ["127.0.0.1/32"], "the same, spelt longer"
    for more, code in (
        ({"networks": ["127.0.0.1/32", "10.0.0.0/8"]}, "wider_network"),
        ({"networks": ["::/0"]}, "wider_network"),
        ({"expires_at": (tomorrow + timedelta(seconds=1)).isoformat()}, "later_expiry"),
    ):
        answer = program.post("/api-keys", NEW | more)
        assert (answer.status_code, answer.json_["code"]) == (403, code)
    assert APIKey.objects.count() == 4


def test_a_key_made_by_a_key_ends_with_the_same_account(caller: Make) -> None:
    """Switching an account off ends what its keys have made too."""
    bob = User.objects.create_user("bob@example.com", role="admin")
    made = caller(created_by=bob).post("/api-keys", NEW | {"scopes": ["events:read"]}).json_
    User.objects.filter(pk=bob.pk).update(is_active=False)
    forget_cached()
    assert Caller(made["token"]).get("/event-types").json_["code"] == "key_revoked"


def test_pages_of_keys(caller: Make) -> None:
    """Cursors walk the whole list once, newest first; a cursor of another tenant's key is none."""
    program = caller(name="0")
    for number in range(1, 6):
        caller(name=str(number))
    names: list[str] = []
    cursor = ""
    while True:
        page = program.get(f"/api-keys?limit=2{cursor}").json_
        names += [key["name"] for key in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert names == ["5", "4", "3", "2", "1", "0"]
    bound = caller(tenant="acme")
    assert bound.get(f"/api-keys?limit=2{cursor}").json_["code"] == "invalid_cursor"


def test_a_body_is_read_strictly(caller: Make) -> None:
    """Unknown fields, wrong types, no JSON and what the service refuses are 400 with the path; another type is 415."""
    program = caller()
    for body, path in (
        (NEW | {"scope": []}, "$"),
        (NEW | {"name": 7}, "$.name"),
        (NEW | {"expires_at": "2030-01-01T00:00:00"}, "$.expires_at"),
        (NEW | {"source": "opssentinal"}, "source"),
        (b"{", "$"),
    ):
        answer = program.post("/api-keys", body)
        assert (answer.status_code, answer.json_["errors"][0]["path"]) == (400, path)
    assert program.post("/api-keys", NEW, **{"content-type": "text/plain"}).status_code == 415
    assert program.post("/api-keys", b" " * 70_000).status_code == 413
