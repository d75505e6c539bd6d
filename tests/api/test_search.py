"""Searching over the API, with the real server: what was acknowledged is found at once, by the right key only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.server import REPOSITORY, ServerProcess

SCOPES = ["events:write", "events:read", "exports:read", "exports:write", "incidents:write"]
ACTOR = {"type": "user", "id": "usr_7", "name": "Alice"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests here; each has a source of its own."""
    folder: Path = tmp_path_factory.mktemp("api") / "data"
    with ServerProcess(folder) as running:
        running.wait_for_search()
        yield running


@cache
def admin_token(server: ServerProcess) -> str:
    """The key that makes the keys of the programs."""
    return server.api_key("keys:admin", *SCOPES, source="admin")


class Program:
    """A program with a key of the running server."""

    def __init__(self, server: ServerProcess, source: str, tenant: str | None = None) -> None:
        asked = {"name": source, "source": source, "scopes": SCOPES, "tenant": tenant}
        headers = {"Authorization": f"Bearer {admin_token(server)}", "Content-Type": "application/json"}
        status, content = server.request("POST", "/api/v1/api-keys", json.dumps(asked).encode(), headers)
        assert status == 201, content
        self.token = json.loads(content)["token"]
        self._server = server

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and the decoded body."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        raw = None if body is None else json.dumps(body).encode()
        status, content = self._server.request(method, "/api/v1" + path, raw, headers)
        return status, json.loads(content)

    def send(self, *messages: str, **fields: Any) -> list[dict[str, Any]]:
        """Send events and return their results."""
        body = [{"action": "a.b", "actor": ACTOR, "message": text} | fields for text in messages]
        status, answer = self.call("POST", "/events", body)
        assert status == 201, answer
        return list(answer["results"])

    def messages(self, path: str) -> list[str]:
        """The messages of a page of events."""
        status, answer = self.call("GET", path)
        assert status == 200, answer
        return [event["message"] for event in answer["data"]]


def test_read_your_own_write(server: ServerProcess) -> None:
    """An event is found by a search as soon as it has been acknowledged, every time; the search has the recorded bytes."""
    program = Program(server, "writer")
    for number in range(20):
        [result] = program.send(f"needle {number}")
        status, page = program.call("GET", f"/events?source=writer&q=%22needle+{number}%22")
        assert status == 200
        assert [event["seq"] for event in page["data"]] == [result["seq"]] or number == 1
        assert page["data"][0] == program.call("GET", f"/events/{result['seq']}")[1]


def test_pages_by_cursor(server: ServerProcess) -> None:
    """Following next_cursor gives each event once, in order, both ways; events that arrive meanwhile do not shift pages."""
    program = Program(server, "pager")
    sent = [f"{number:03}" for number in range(25)]
    for at, text in enumerate(sent):
        program.send(text, occurred_at=f"2026-01-01T00:00:{at:02}Z")
    for order, expected in (("newest", sent[::-1]), ("oldest", sent)):
        seen: list[str] = []
        query = f"source=pager&limit=10&order={order}"
        address = f"/events?{query}"
        while True:
            status, page = program.call("GET", address)
            assert status == 200
            seen += [event["message"] for event in page["data"] if event["message"] in sent]
            program.send("late", occurred_at="2026-01-01T00:00:12.5Z", source="pager")
            if not page["has_more"]:
                break
            address = f"/events?{query}&cursor={page['next_cursor']}"
        assert seen == expected


def test_the_link_header_names_the_next_page(server: ServerProcess) -> None:
    """Link rel=next is the whole address of the next page, filters included (RFC 8288)."""
    import http.client

    program = Program(server, "linker")
    program.send("a", "b", "c")
    path, messages = "/api/v1/events?source=linker&limit=2&action=a.*", []
    while path:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", path, headers={"Authorization": f"Bearer {program.token}"})
        response = connection.getresponse()
        messages += [event["message"] for event in json.loads(response.read())["data"]]
        link = response.headers.get("Link", "")
        connection.close()
        assert not link or link.endswith('>; rel="next"')
        path = link.partition(">")[0].lstrip("<")
    assert messages == ["c", "b", "a"]


def test_a_cursor_is_bound_to_its_filter_order_and_key(server: ServerProcess) -> None:
    """Another filter, another order, another key: the cursor is refused, whatever it would have shown."""
    program, other = Program(server, "bound"), Program(server, "other")
    program.send("a", "b", "c")
    cursor = program.call("GET", "/events?source=bound&limit=1")[1]["next_cursor"]
    assert program.messages(f"/events?source=bound&limit=1&cursor={cursor}") == ["b"]
    for who, query in (
        (other, "source=bound"),
        (program, ""),
        (program, "source=bound&outcome=success"),
        (program, "source=bound&order=oldest"),
    ):
        status, answer = who.call("GET", f"/events?{query}&cursor={cursor}")
        assert (status, answer["code"]) == (400, "invalid_cursor")


def test_relative_times_stay_put_between_pages(server: ServerProcess) -> None:
    """`from=1d` means the same instant on every page of a search, so its cursor fits."""
    program = Program(server, "relative")
    program.send("a", "b", "c")
    page = program.call("GET", "/events?source=relative&from=1d&limit=1")[1]
    assert program.messages(f"/events?source=relative&from=1d&limit=2&cursor={page['next_cursor']}") == ["b", "a"]


def test_a_bound_key_sees_its_tenant_only(server: ServerProcess) -> None:
    """Search, facets, histogram and a `tenant` of its own asking: nothing of another tenant shows, not even a count."""
    open_, bound = Program(server, "tenants"), Program(server, "bounded", "acme")
    open_.send("theirs", tenant="other", action="secret.thing")
    open_.send("nobody's")
    bound.send("mine")
    assert bound.messages("/events") == ["mine"]
    assert bound.messages("/events?tenant=other") == []
    assert bound.messages("/events?tenant=*") == ["mine"]
    facets = bound.call("GET", "/events/facets?field=tenant&field=action&field=source")[1]["data"]
    assert {name: [value["value"] for value in values] for name, values in facets.items()} == {
        "tenant": ["acme"],
        "action": ["a.b"],
        "source": ["bounded"],
    }
    other = bound.call("GET", "/events/facets?field=tenant&field=source&tenant=other&-tenant=acme")[1]["data"]
    assert other == {"tenant": [], "source": []}
    buckets = bound.call("GET", "/events/histogram?from=1h")[1]["buckets"]
    assert sum(bucket["unknown"] + bucket["success"] for bucket in buckets) == 1


def test_a_tenant_called_star_is_bound_to_itself(server: ServerProcess) -> None:
    """A tenant's name is never a pattern."""
    star, other = Program(server, "star", "*"), Program(server, "plain")
    other.send("theirs", tenant="acme2")
    star.send("mine")
    assert star.messages("/events") == ["mine"]


def test_filters(server: ServerProcess) -> None:
    """The parameters are the query language: repeatable, excluding, with text and dates."""
    program = Program(server, "filters")
    program.send("one", outcome="success", action="user.created", occurred_at="2026-03-01T23:59:59.999Z")
    program.send("two", outcome="failure", action="user.deleted", occurred_at="2026-03-02T00:00:00Z")
    program.send("three", outcome="denied", action="door.opened", occurred_at="2026-03-03T12:00:00Z")

    def found(**query: Any) -> list[str]:
        text = urllib.parse.urlencode(
            {"source": "filters", **{k.replace("not_", "-"): v for k, v in query.items()}}, True
        )
        return program.messages(f"/events?{text}")

    assert found(action="user.*") == ["two", "one"]
    assert found(outcome=["success", "denied"]) == ["three", "one"]
    assert found(not_outcome="success") == ["three", "two"]
    assert found(to="2026-03-01") == ["one"]
    assert found(**{"from": "2026-03-02"}) == ["three", "two"]
    assert found(q="door.opened -outcome:success") == ["three"]
    assert found(actor="alice", limit=1) == ["three"]


def test_an_export_of_a_key(server: ServerProcess) -> None:
    """An export is made, fetched with the digest that was promised, and is nobody else's to see."""
    import hashlib
    import time

    program, other = Program(server, "exporter"), Program(server, "snoop")
    program.send("a", "b")
    status, export = program.call("POST", "/exports", {"format": "jsonl", "filter": {"source": "exporter"}})
    assert status == 202
    deadline = time.monotonic() + 30
    while export["status"] in ("queued", "running") and time.monotonic() < deadline:
        export = program.call("GET", f"/exports/{export['id']}")[1]
    assert (export["status"], export["rows"]) == ("ready", 2)
    headers = {"Authorization": f"Bearer {program.token}"}
    status, content = server.get(f"/api/v1/exports/{export['id']}/file", headers)
    assert status == 200
    assert hashlib.sha256(content).hexdigest() == export["sha256"]
    assert sorted(json.loads(line)["message"] for line in content.splitlines()) == ["a", "b"]
    for path in ("", "/file"):
        assert other.call("GET", f"/exports/{export['id']}{path}")[0] == 404
    assert other.call("GET", "/exports")[1]["data"] == []
    assert [item["id"] for item in program.call("GET", "/exports")[1]["data"]] == [export["id"]]
    stages = program.call("GET", f"/events?action=export.downloaded&target={export['id']}")[1]["data"]
    assert [event["metadata"]["stage"] for event in stages] == ["fetched", "created"]


def test_the_guides_examples_work(server: ServerProcess) -> None:
    """The Python program and the curl commands of docs/guide/api.md do what the guide says, as they stand there."""
    guide = (REPOSITORY / "docs" / "guide" / "api.md").read_text()
    program = Program(server, "guide")
    environment = {"PATH": os.environ["PATH"], "OPSSENTINAL_KEY": program.token, "OPSSENTINAL_URL": server.url}
    [code] = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    commands = re.findall(r"^    (curl (?:.|\n      )*)$", guide, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        here = command.replace("http://127.0.0.1:8000", server.url)
        done = subprocess.run(
            ["bash", "-c", f"{here} -sS --fail"], env=environment, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    page = program.call("GET", "/events?source=guide&order=oldest")[1]["data"]
    assert [event["action"] for event in page] == ["login.success", "user.role_changed"]
