"""Secrets stay secret: after a day of signing in, failing and exporting, none stands in a log, an event or a file."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.form import fields_of
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


def test_no_secret_of_settings_in_logs_events_and_files(server: ServerProcess) -> None:
    """What is entered or shown once on pages of settings: in no log, no event, no page afterwards and no file in the clear."""
    admin = Visitor(server.url)
    assert admin.sign_in(*ADMIN)[0] == 200
    entered = {"smtp_password": "smtp-Pa55word-entered", "client_secret": "client-5ecret-entered"}
    email = {"smtp_host": "mail.invalid", "smtp_user": "mailer", "smtp_from": "log@example.com"}
    _fill(admin, "/settings/general/", "/settings/general/email/", email | {"smtp_password": entered["smtp_password"]})
    assert "One is stored" in admin.get("/settings/general/")[1]
    _fill(admin, "/settings/general/", "/settings/general/email/test/", {})
    provider = {
        "name": "Id",
        "issuer": "https://id.invalid/x",
        "client_id": "log",
        "client_secret": entered["client_secret"],
    }
    _fill(admin, "/settings/single-sign-on/", "/settings/single-sign-on/connection/", provider)
    shown = set()
    for path, pattern, fields in (
        ("/settings/integrations/new/", r'id="secret">(whsec_[^<]+)<', {"name": "Hook", "url": "https://93.184.215.14/hook"}),
        ("/settings/api-keys/new/", r'id="token">(ops_[^<]+)<', {"name": "Key", "source": "key", "scopes": "events:write"}),
        ("/settings/users/new/", r'id="link">[^<]*?/([^/<]{20,})/<', {"email": "new@example.com", "role": "member"}),
        ("/profile/second-factor/app/add/", r'id="totp-key">([A-Z2-7]{16,})<', {"password": ADMIN[1]}),
    ):  # fmt: skip
        page = _fill(admin, path, "/accounts/reauthenticate/" if "password" in fields else "", fields)
        found = re.search(pattern, page)
        assert found is not None, page
        shown.add(found[1])
    secrets = {*entered.values(), *shown}
    server.wait_for_search()
    assert len(secrets) == 6
    everything = {
        "the server's log": server.log.read_text(),
        "the events": server.command("tail", "--limit", "100000", "--json").stdout,
        "check": server.command("check", check=False).stdout,
    }
    for path in (
        "/settings/general/", "/settings/single-sign-on/", "/settings/integrations/", "/settings/api-keys/", "/settings/users/",
    ):  # fmt: skip
        everything[path] = admin.get(path)[1]
    for place, text in everything.items():
        assert text
        assert [secret for secret in secrets if secret in text] == [], place
    for file in filter(Path.is_file, server.data_dir.rglob("*")):
        assert [secret for secret in secrets if secret.encode() in file.read_bytes()] == [], file


def _fill(admin: Visitor, path: str, action: str, fields: dict[str, str]) -> str:
    """Fill in a form of a page and send it; the page that answers."""
    _, page = admin.get(path)
    sent = fields_of(page, action) | fields
    sent.pop("csrfmiddlewaretoken")
    return admin.post(action or path, page, **sent)[1]


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
