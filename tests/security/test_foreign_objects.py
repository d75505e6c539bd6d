"""IDOR: whatever belongs to another tenant, key or person is as if it did not exist, whichever way one asks for it."""

from __future__ import annotations

import json
import re
import time
from typing import Any, NamedTuple

import pytest

from opssentinal.apikeys.principal import SCOPES
from tests.security.conftest import send
from tests.server import ServerProcess
from tests.visitor import Visitor

_MEMBER = ("member@example.com", "a member's pass phrase 7")


class Side(NamedTuple):
    """A tenant's key and the addresses of what is its own."""

    key: str
    key_id: str
    seq: int
    event_id: str
    export: str
    incident: int
    cursor: str


def _side(server: ServerProcess, tenant: str) -> Side:
    scopes = [part for scope in SCOPES for part in ("--scope", scope)]
    done = server.command("apikey", "create", tenant, "--source", tenant, "--tenant", tenant, *scopes, "--json")
    made = json.loads(done.stdout)
    key = str(made["token"])
    seqs = send(
        server,
        key,
        *({"action": f"{tenant}.worked", "actor": {"type": "user", "id": f"{tenant}-{n}"}} for n in range(5)),
    )
    event = server.api(f"/api/v1/events/{seqs[0]}", key)
    status, export = ask(server, key, "POST", "/api/v1/exports", {"format": "csv"})
    assert status == 202, export
    deadline = time.monotonic() + 30
    while server.api(f"/api/v1/exports/{export['id']}", key)["status"] != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    status, incident = ask(server, key, "POST", "/api/v1/incidents", {"title": f"of {tenant}", "severity": "low"})
    assert status == 201, incident
    page = server.api("/api/v1/events?limit=2", key)
    return Side(key, made["id"], seqs[0], event["id"], export["id"], incident["number"], page["next_cursor"])


def ask(server: ServerProcess, key: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request with a key; the status and the JSON."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    sent = None if body is None else json.dumps(body).encode()
    status, content = server.request(method, path, sent, headers)
    return status, json.loads(content) if content[:1] in b"{[" else content


@pytest.fixture(scope="module")
def acme(server: ServerProcess) -> Side:
    """Whose things they are."""
    return _side(server, "acme")


@pytest.fixture(scope="module")
def globex(server: ServerProcess) -> Side:
    """Who would like to see them."""
    return _side(server, "globex")


# What is sent with an operation on one object, where it takes a body.
_BODIES: dict[str, Any] = {
    "updateIncident": {"title": "mine now"},
    "createIncidentNote": {"text": "was here"},
    "attachIncidentEvents": {"events": ["0"]},  # whether it is theirs does not come into it
}


def test_another_tenants_objects_do_not_exist(server: ServerProcess, acme: Side, globex: Side) -> None:
    """Each operation on an object by its name is answered like one on an object that never was: the same status, code and words."""
    objects = {
        "event": [(acme.seq, 999_999), (acme.event_id, "0193d2b4-7c3e-7f00-8000-000000000000")],
        "export_id": [(acme.export, "exp_nothing")],
        "key_id": [(acme.key_id, "nothing1")],
        "number": [(acme.incident, 999_999)],
    }
    document = json.loads(server.get("/api/v1/openapi.json")[1])
    asked_for = set()
    for path, operations in document["paths"].items():
        for name in re.findall(r"{(\w+)}", path):
            for theirs, nobodys in objects[name]:
                for method, operation in operations.items():
                    body = _BODIES.get(operation["operationId"])
                    asked = ask(server, globex.key, method.upper(), path.format(**{name: theirs}), body)
                    never = ask(server, globex.key, method.upper(), path.format(**{name: nobodys}), body)
                    assert asked[0] == never[0] == 404, (method, path, asked)
                    assert (asked[1]["code"], asked[1]["detail"].replace(str(theirs), "…")) == (
                        never[1]["code"], never[1]["detail"].replace(str(nobodys), "…"),
                    )  # fmt: skip
                    asked_for.add(operation["operationId"])
    assert len(asked_for) >= 10
    # And nothing has become of them.
    assert ask(server, acme.key, "GET", f"/api/v1/incidents/{acme.incident}")[1]["title"] == "of acme"
    assert ask(server, acme.key, "GET", f"/api/v1/exports/{acme.export}")[1]["status"] == "ready"


def test_nothing_of_another_tenant_is_listed_counted_or_exported(
    server: ServerProcess, acme: Side, globex: Side
) -> None:
    """Lists, counts, types and files hold one's own alone, also where a filter names the other tenant."""
    for path in (
        "/api/v1/events?limit=1000", "/api/v1/events?limit=1000&tenant=acme", "/api/v1/events?q=acme",
        "/api/v1/events?q=tenant:acme%20OR%20tenant:globex", "/api/v1/events/facets?field=tenant&field=actor&field=action",
        "/api/v1/events/facets?field=tenant&tenant=acme", "/api/v1/event-types", "/api/v1/exports", "/api/v1/api-keys",
        "/api/v1/incidents",
    ):  # fmt: skip
        status, found = ask(server, globex.key, "GET", path)
        assert status in (200, 400), found
        if status == 200:
            assert "acme" not in json.dumps(found["data"]), path
    histogram = ask(server, globex.key, "GET", "/api/v1/events/histogram?q=acme.worked")[1]
    assert sum(count for bucket in histogram["buckets"] for count in bucket.values() if isinstance(count, int)) == 0
    status, content = ask(server, globex.key, "GET", f"/api/v1/exports/{globex.export}/file")
    assert status == 200
    assert b"globex.worked" in content
    assert b"acme" not in content


def test_a_cursor_opens_nothing_for_others(server: ServerProcess, acme: Side, globex: Side) -> None:
    """A cursor is of one key, one search and one spelling."""
    assert ask(server, acme.key, "GET", f"/api/v1/events?limit=2&cursor={acme.cursor}")[0] == 200
    for key, path in (
        (globex.key, f"/api/v1/events?limit=2&cursor={acme.cursor}"),
        (acme.key, f"/api/v1/events?limit=2&action=a.b&cursor={acme.cursor}"),
        (acme.key, f"/api/v1/events?limit=2&cursor={acme.cursor[:-2]}AA"),
    ):
        status, problem = ask(server, key, "GET", path)
        assert (status, problem["code"]) == (400, "invalid_cursor")


def test_nobody_writes_or_grants_beyond_their_tenant(server: ServerProcess, acme: Side, globex: Side) -> None:
    """Events for another tenant are refused, as are keys for one, and incidents with another's events."""
    event = {"action": "a.b", "actor": {"type": "t", "id": "1"}, "tenant": "acme"}
    status, answer = ask(server, globex.key, "POST", "/api/v1/events", event)
    assert (status, answer["results"][0]["error"]["code"]) == (207, "wrong_tenant")
    for wanted in ({"tenant": "acme"}, {"tenant": None}, {}):
        asked = {"name": "more", "source": "more", "scopes": ["events:read"]} | wanted
        status, made = ask(server, globex.key, "POST", "/api/v1/api-keys", asked)
        assert status in (400, 403) or made["tenant"] == "globex", made
    for name in (str(acme.seq), acme.event_id):
        attached = ask(server, globex.key, "POST", f"/api/v1/incidents/{globex.incident}/events", {"events": [name]})
        assert attached[0] == 404, attached
        opened = {"title": "x", "severity": "low", "events": [name]}
        assert ask(server, globex.key, "POST", "/api/v1/incidents", opened)[0] == 404
    own = {"events": [globex.event_id]}
    assert ask(server, globex.key, "POST", f"/api/v1/incidents/{globex.incident}/events", own)[0] == 200


def test_without_a_key_there_is_nothing(server: ServerProcess, acme: Side) -> None:
    """Every operation of the document but the document itself wants a key."""
    document = json.loads(server.get("/api/v1/openapi.json")[1])
    for path, operations in document["paths"].items():
        for method in operations:
            address = path.format(event=acme.seq, export_id=acme.export, number=acme.incident, key_id=acme.key_id)
            for key in ("", "ops_wrong", acme.key[:-1] + ("a" if acme.key[-1] != "a" else "b")):
                assert ask(server, key, method.upper(), address, {} if method != "get" else None)[0] == 401, (
                    method,
                    address,
                )


def test_a_member_reaches_nothing_of_the_admins(server: ServerProcess, acme: Side) -> None:
    """Pages of the log, of exports and of settings are refused to a member, by link as by address."""
    server.command(
        "createuser", _MEMBER[0], "--role", "member", "--name", "Mel", "--password-stdin", stdin=_MEMBER[1] + "\n"
    )
    member = Visitor(server.url)
    assert member.sign_in(*_MEMBER)[0] == 200
    for path in (
        "/insights/audit-logs/", f"/insights/audit-logs/{acme.seq}/", f"/insights/audit-logs/{acme.event_id}/",
        "/insights/audit-logs/search-state/", f"/insights/exports/{acme.export}/", "/settings/api-keys/",
        "/settings/data-retention/", "/settings/users/", "/settings/approvals/",
    ):  # fmt: skip
        status, page = member.get(path)
        assert status in (403, 404), (path, status)
        assert "acme" not in page.replace(path, "")
