"""Secrets stay secret: after a day of signing in, failing and exporting, none stands in a log, an event or a file."""

from __future__ import annotations

import json

from tests.security.conftest import ADMIN, send
from tests.server import ServerProcess
from tests.visitor import Visitor

_WRONG = "wrong-Pa55phrase-typed-by-hand"
_FIELD = "p4ssword-in-the-email-field"


def test_no_secret_in_logs_events_and_files(server: ServerProcess, key: str) -> None:
    """Passwords right and wrong, tokens, session and CSRF cookies and the secret key: looked for everywhere, found nowhere."""
    visitor = Visitor(server.url)
    visitor.sign_in(ADMIN[0], _WRONG)
    visitor.sign_in(_FIELD, _WRONG)
    assert visitor.sign_in(*ADMIN)[0] == 200
    secrets = {ADMIN[1], _WRONG, key, key.rpartition("_")[2]}
    secrets |= {
        cookie.value for cookie in visitor.cookies if cookie.value and cookie.name in ("sessionid", "csrftoken")
    }
    _, page = visitor.get("/settings/api-keys/")
    made = "ops_test_not_a_key_0123456789abcdef"
    server.get("/api/v1/events", {"Authorization": f"Bearer {made}"})
    secrets.add(made)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    send(server, key, {"action": "secret.near", "actor": {"type": "test", "id": "1"}})
    server.request("POST", "/api/v1/events", b'{"broken', headers)
    server.request("POST", "/api/v1/exports", b'{"format":"csv","filter":{}}', headers)
    server.get(f"/api/v1/events?token={key}", headers)
    server.wait_for_search()
    for name in ("secret_key", "secret-key", "secret.key"):
        if (path := server.data_dir / name).exists():
            secrets.add(path.read_text().strip())
    assert len(secrets) >= 6
    everything = {
        "the server's log": server.log.read_text(),
        "the events": server.command("tail", "--limit", "100000", "--json").stdout,
        "check": server.command("check", check=False).stdout,
        "the page of keys": page,
    }
    for place, text in everything.items():
        assert text
        assert [secret for secret in secrets if secret in text] == [], place
    # Passwords and tokens are kept as hashes only, so they are in no file at all; a token of a page is not one of them.
    kept = {ADMIN[1], _WRONG, key, key.rpartition("_")[2], made}
    for path in server.data_dir.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert [secret for secret in kept if secret.encode() in content] == [], path


def test_what_was_typed_into_the_wrong_field_is_not_recorded(server: ServerProcess) -> None:
    """A password typed where the e-mail address belongs is not kept as the name of who failed to sign in."""
    Visitor(server.url).sign_in(_FIELD, _WRONG)
    events = map(json.loads, server.command("tail", "--limit", "100000", "--json").stdout.splitlines())
    failures = [event for event in events if event["action"] == "login.failure"]
    assert failures
    assert _FIELD not in json.dumps(failures)


def test_files_are_for_their_owner(server: ServerProcess) -> None:
    """Nothing in the data directory can be read by another account of the machine."""
    server.wait_for_search()
    open_to_others = [path for path in (server.data_dir, *server.data_dir.rglob("*")) if path.lstat().st_mode & 0o077]
    assert open_to_others == []
