"""Cookies, headers and the life of a session, as a browser gets them from the running server."""

from __future__ import annotations

import http.client
import re
from pathlib import Path

import pytest

from tests.security.conftest import ADMIN
from tests.server import REPOSITORY, ServerProcess
from tests.visitor import Visitor


def _cookies(visitor: Visitor) -> dict[str, str]:
    return {cookie.name: cookie.value or "" for cookie in visitor.cookies}


def _answer(server: ServerProcess, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def test_cookies_are_out_of_reach_for_scripts_and_other_sites(server: ServerProcess) -> None:
    """The session's cookie is HttpOnly and SameSite, and goes no further than this host."""
    visitor = Visitor(server.url)
    visitor.sign_in(*ADMIN)
    (session,) = [cookie for cookie in visitor.cookies if cookie.name == "sessionid"]
    assert session.has_nonstandard_attr("HttpOnly")
    assert session.get_nonstandard_attr("SameSite") == "Lax"
    assert not session.domain_specified


def test_over_https_cookies_are_secure(tmp_path: Path) -> None:
    """Where the public address is https, no cookie travels without encryption."""
    with ServerProcess(tmp_path / "data", OPSSENTINAL_BASE_URL="https://log.example.com") as server:
        server.command(
            "createuser", ADMIN[0], "--role", "admin", "--name", "Ada", "--password-stdin", stdin=ADMIN[1] + "\n"
        )
        answer = _answer(server, "/accounts/login/")
        cookies = answer.headers.get_all("Set-Cookie") or []
        assert cookies
        assert all("Secure" in cookie for cookie in cookies)


def test_a_session_begins_anew_with_signing_in_and_ends_with_signing_out(server: ServerProcess) -> None:
    """A session that was planted before signing in is worth nothing afterwards, nor is one after signing out."""
    visitor = Visitor(server.url)
    assert visitor.sign_in(*ADMIN)[0] == 200
    first = _cookies(visitor)["sessionid"]
    copied = Visitor(server.url)
    for cookie in visitor.cookies:
        copied.cookies.set_cookie(cookie)
    assert "Audit Logs" in copied.get("/insights/audit-logs/")[1]
    _, page = visitor.get("/insights/audit-logs/")
    visitor.post("/accounts/logout/", page)
    assert "Sign in" in copied.get("/insights/audit-logs/")[1]
    assert visitor.sign_in(*ADMIN)[0] == 200
    assert _cookies(visitor)["sessionid"] != first


def test_a_form_without_its_token_changes_nothing(server: ServerProcess, admin: Visitor) -> None:
    """A form that another site sends with the admin's cookies is refused."""
    cookies = "; ".join(f"{name}={value}" for name, value in _cookies(admin).items())
    headers = {"Cookie": cookies, "Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/settings/api-keys/new/", "/insights/exports/new/", "/accounts/logout/", "/settings/users/invite/"):
        status, _ = server.request("POST", path, b"name=x", headers | {"Origin": "https://evil.example"})
        assert status in (403, 404), path
    assert "Audit Logs" in admin.get("/insights/audit-logs/")[1]


@pytest.mark.parametrize(
    "path", ["/accounts/login/", "/insights/audit-logs/", "/api/v1/docs", "/api/v1/events", "/nothing", "/readyz"]
)
def test_headers_of_every_answer(server: ServerProcess, path: str) -> None:
    """No inline code, no frames, no guessing of types, no server's name."""
    answer = _answer(server, path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] is None


def test_the_page_on_security_names_tests_that_are_there() -> None:
    """Every test that docs/security.md points at exists."""
    named = re.findall(r"`(tests/[\w/.]+)`", (REPOSITORY / "docs/security.md").read_text())
    assert len(named) > 20
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
