"""Stored XSS in what people and programs call things: every text column of the database, on every page there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from playwright.sync_api import Browser

from tests.security.conftest import ADMIN, full_event, send
from tests.security.test_foreign_objects import ask
from tests.security.test_stored_markup import check_page, watched_page
from tests.server import REPOSITORY, ServerProcess
from tests.visitor import Visitor

# What stands for the variable parts of an address, by its beginning.
_PARTS: dict[str, dict[str, str]] = {
    "insights/incidents/": {"number": "1000"},
    "insights/exports/": {"public_id": "exp_planted"},
    "settings/approvals/": {"pk": "1", "verdict": "approve"},
    "settings/integrations/": {"public_id": "int_planted", "webhook_id": "msg_planted"},
    "settings/data-retention/": {"pk": "1"},
    "settings/users/": {"pk": "2"},
    "settings/api-keys/": {"public_id": "plantedK"},
    "accounts/sso/": {"provider_id": "1"},
    "profile/second-factor/passkeys/": {"pk": "1"},
}
EVENT_ID = "0193d2b4-7c3e-7f00-8000-000000000002"
# Columns that no page shows: keys of other rows, who holds a lease; and what is shown of a provider that passed its test and of
# the session that looks.
_NOT_SHOWN = {
    "approvals.Approval.subject", "exports.Export.principal", "incidents.AttachedEvent.actor_id",
    "incidents.AttachedEvent.by_id", "incidents.AttachedEvent.by_type", "incidents.Incident.by_id",
    "incidents.Incident.by_type", "incidents.Incident.request_key", "incidents.Note.by_id", "incidents.Note.by_type",
    "integrations.Integration.lease_owner", "sso.OIDCProvider.tested_by", "usersessions.UserSession.user_agent",
}  # fmt: skip
# Not pages: JSON, a file; and what ends the session that looks, or goes elsewhere.
_LEFT_OUT = ("api/", "healthz", "readyz", "accounts/logout/", "accounts/sso/", "^accounts/password/")


def _routes(resolver: URLResolver, before: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield route


def _address(route: str, seq: str) -> str:
    parts = {"seq": seq, "id_": EVENT_ID} | next(
        (parts for start, parts in _PARTS.items() if route.startswith(start)), {}
    )
    return "/" + re.sub(r"<\w+:(\w+)>", lambda found: parts[found[1]], route)


@pytest.fixture(scope="module")
def planted_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, dict[str, str]]]:
    """A server with hostile text in every column, and the texts by their columns."""
    with ServerProcess(tmp_path_factory.mktemp("planted") / "data") as server:
        server.command("createuser", ADMIN[0], "--role", "admin", "--password-stdin", stdin=ADMIN[1] + "\n")
        done = subprocess.run(
            [sys.executable, "-m", "tests.security.planting"],
            cwd=REPOSITORY, env=server.environment | {"DJANGO_SETTINGS_MODULE": "opssentinal.settings"},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        yield server, json.loads(done.stdout)


def test_every_column_on_every_page(planted_server: tuple[ServerProcess, dict[str, str]], browser: Browser) -> None:
    """Every address that answers with a page shows text as text; every column stands on one of them, but for these."""
    server, planted = planted_server
    admin = _signed_in(server)
    [seq] = send(server, server.api_key("events:write"), full_event(planted["incidents.Note.text"]) | {"id": EVENT_ID})
    server.wait_for_search()
    seen: set[str] = set()
    with watched_page(server, admin, browser) as page:
        for route in _routes(get_resolver("opssentinal.urls")):
            if route.startswith(_LEFT_OUT):
                continue
            answer = page.goto(_address(route, str(seq)))
            assert answer is not None
            assert answer.status < 500, route
            check_page(page)
            seen |= set(re.findall(r"p(\d\d)(?:\"|&quot;)", page.content()))
    assert {name for name, text in planted.items() if text[1:3] not in seen} == _NOT_SHOWN


@pytest.mark.parametrize(
    "text", ["one \u202e turned \u2066 line", "two\r\nlines \x1b[31m\x9b31m red", "\u200b\u2028\ufeff\xad"]
)
def test_turned_text_in_incidents(
    planted_server: tuple[ServerProcess, dict[str, str]], browser: Browser, text: str
) -> None:
    """Control and bidi characters in what the API says of an incident are refused, or spelled out where it is shown."""
    server, _ = planted_server
    key = server.api_key("incidents:write", "incidents:read", "keys:admin", "events:write")
    numbers = []
    for asked in ({"title": text}, {"title": "x", "description": text}, {"title": "x", "tenant": text}):
        status, made = ask(server, key, "POST", "/api/v1/incidents", asked | {"severity": "low"})
        assert status in (201, 400), made
        numbers += [made["number"]] if status == 201 else []
    number = ask(server, key, "POST", "/api/v1/incidents", {"title": "x", "severity": "low"})[1]["number"]
    assert ask(server, key, "POST", f"/api/v1/incidents/{number}/notes", {"text": text})[0] in (201, 400)
    for name, value in (("name", text), ("source", text), ("tenant", text)):
        asked = {"name": "x", "source": "x", "scopes": ["events:write"]} | {name: value}
        assert ask(server, key, "POST", "/api/v1/api-keys", asked)[0] in (201, 400)
    with watched_page(server, _signed_in(server), browser) as page:
        for address in ("", *(f"{each}/" for each in (*numbers, number))):
            page.goto(f"/insights/incidents/{address}")
            check_page(page)
        page.goto("/settings/api-keys/")
        check_page(page)


def _signed_in(server: ServerProcess) -> Visitor:
    admin = Visitor(server.url)
    assert admin.sign_in(*ADMIN)[0] == 200
    return admin
