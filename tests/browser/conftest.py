"""The product's own server with a demo in it, and Chromium to look at it: as an admin, as a member, and without scripts.

Everything that the browser writes to its console as an error or as a violation of the Content-Security-Policy fails the
test that saw it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect
from playwright.sync_api import Error as PlaywrightError

from tests.server import REPOSITORY, ServerProcess

RESULTS = REPOSITORY / "test-results"
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 780}
MEMBER = ("member@example.com", "a member's pass phrase 7")

expect.set_options(timeout=15_000)

NewPage = Callable[..., Page]


class Site:
    """The server with its demo and the accounts to sign in with."""

    def __init__(self, server: ServerProcess, admin: tuple[str, str]) -> None:
        self.server = server
        self.url = server.url
        self.admin = admin
        self.sessions: dict[tuple[str, str], Any] = {}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server over nine invented days, with an admin and a member."""
    server = ServerProcess(
        tmp_path_factory.mktemp("browser") / "data", OPSSENTINAL_DEMO="true", OPSSENTINAL_OUTBOUND_ALLOW="127.0.0.1"
    )
    made = json.loads(server.command("demo", "--days", "9", "--json").stdout)
    server.command(
        "createuser", MEMBER[0], "--role", "member", "--name", "Mel Member", "--password-stdin", stdin=MEMBER[1] + "\n"
    )
    with server:
        server.wait_for_search()
        yield Site(server, (made["email"], made["password"]))


def sign_in(page: Page, account: tuple[str, str]) -> None:
    """Sign in through the page, as people do."""
    page.get_by_label("E-mail").fill(account[0])
    page.get_by_label("Password").fill(account[1])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/accounts/login/" not in url)


@pytest.fixture
def new_page(site: Site, browser: Browser) -> Iterator[NewPage]:
    """Make pages that are signed in; a complaint of the browser about them fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    allowed: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def make(
        *,
        scheme: str = "light",
        viewport: dict[str, int] = DESKTOP,
        scripts: bool = True,
        account: tuple[str, str] | None = site.admin,
        allow: str = "",
    ) -> Page:
        """`allow` is the beginning of a message that this test provokes on purpose, such as a 403."""
        context = browser.new_context(
            base_url=site.url, viewport=viewport, color_scheme=scheme, java_script_enabled=scripts,
            storage_state=site.sessions.get(account) if account else None,
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if allow:
            allowed.append(allow)
        if account and account not in site.sessions:
            page.goto("/accounts/login/")
            sign_in(page, account)
            site.sessions[account] = context.storage_state()
        return page

    yield make
    for context in contexts:
        context.close()
    assert [text for text in complaints if not any(text.startswith(start) for start in allowed)] == []


def check_accessible(page: Page) -> None:
    """axe finds nothing: WCAG 2.2 A and AA and its best practices."""
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def keep(page: Page, name: str) -> None:
    """Save a screenshot for a person to look at. On a busy machine the browser sometimes cannot take one at the first go."""
    RESULTS.mkdir(exist_ok=True)
    for is_last in (False, False, True):
        try:
            page.screenshot(path=Path(RESULTS) / f"{name}.png")
            return
        except PlaywrightError:
            if is_last:
                raise
