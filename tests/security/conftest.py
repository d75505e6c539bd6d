"""A server whose every field holds something hostile, and the people and programs who look at it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.server import ServerProcess
from tests.visitor import Visitor

ADMIN = ("admin@example.com", "Tr0ub4dor-admin-pass")
AUDITED = {"Content-Type": "application/json"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all of these tests, at its most talkative."""
    with ServerProcess(tmp_path_factory.mktemp("security") / "data", OPSSENTINAL_LOG_LEVEL="debug") as server:
        server.command(
            "createuser", ADMIN[0], "--role", "admin", "--name", "Ada", "--password-stdin", stdin=ADMIN[1] + "\n"
        )
        yield server


@pytest.fixture(scope="session")
def key(server: ServerProcess) -> str:
    """A key that writes, reads and exports."""
    return server.api_key("events:write", "events:read", "exports:read", "exports:write", source="hostile")


@pytest.fixture(scope="session")
def admin(server: ServerProcess) -> Visitor:
    """The admin, signed in."""
    visitor = Visitor(server.url)
    assert visitor.sign_in(*ADMIN)[0] == 200
    return visitor


def send(server: ServerProcess, key: str, *events: dict[str, object]) -> list[int]:
    """Send events that must all be taken; return their seqs."""
    headers = AUDITED | {"Authorization": f"Bearer {key}"}
    status, body = server.request("POST", "/api/v1/events", json.dumps(events).encode(), headers)
    assert status == 201, body
    return [result["seq"] for result in json.loads(body)["results"]]


def full_event(text: str, action: str = "hostile.sent") -> dict[str, object]:
    """An event with this text in every field that takes free text."""
    return {
        "action": action,
        "actor": {"type": text[:64], "id": text, "name": text, "email": text},
        "targets": [{"type": text[:64], "id": text, "name": text, "email": text}] * 2,
        "context": {"ip": "203.0.113.9", "user_agent": text, "session_id": text, "request_id": text, "forwarded_for": [text[:128]]},
        "changes": [{"field": text, "before": text, "after": {text: [text]}}],
        "metadata": {text: text, "deep": {"er": [text]}},
        "message": text,
        "tenant": text[:128],
    }  # fmt: skip
