"""From "Sign in with …" at a real provider's own pages to the rows in the audit log, in Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.conftest import DESKTOP, PHONE, check_accessible, keep, sign_in
from tests.server import ServerProcess, free_port
from tests.sso.canaille_server import CLIENT_ID, CLIENT_SECRET, PASSWORD, CanailleProcess

ADMIN = ("alice@example.com", "an admin's pass phrase 7")
PAGE = "/settings/single-sign-on/"
_ON_PURPOSE = "Failed to load resource: the server responded with a status of 40"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The product, whose operator permits requests to the loopback address, with one admin."""
    server = ServerProcess(tmp_path_factory.mktemp("sso") / "data", OPSSENTINAL_OUTBOUND_ALLOW="127.0.0.1/32")
    server.command("migrate")
    server.command(
        "createuser", ADMIN[0], "--role", "admin", "--name", "Alice", "--password-stdin", stdin=ADMIN[1] + "\n"
    )
    with server:
        server.wait_for_search()
        yield server


@pytest.fixture(scope="module")
def provider(server: ServerProcess) -> Iterator[CanailleProcess]:
    """Canaille, which knows our redirect URI."""
    with CanailleProcess(free_port(), f"{server.url}/accounts/sso/1/callback/") as provider:
        yield provider


@pytest.fixture
def new_page(server: ServerProcess, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Browsers of their own. What Chromium complains about on our pages fails the test, such as a blocked form."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def listen(said: ConsoleMessage) -> None:
        is_ours = said.location["url"].startswith(server.url)
        if said.type in ("error", "warning") and is_ours and not said.text.startswith(_ON_PURPOSE):
            complaints.append(said.text)

    def make(**options: Any) -> Page:
        context = browser.new_context(base_url=server.url, **({"viewport": DESKTOP} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("console", listen)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def at_provider(page: Page, provider: CanailleProcess, user_name: str) -> None:
    """Sign in on the provider's own pages."""
    page.wait_for_url(provider.issuer + "/**")
    page.locator("input[name=login]").fill(user_name)
    page.locator("input[name=login]").press("Enter")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("input[name=password]").press("Enter")


def test_from_the_settings_page_to_the_audit_log(
    server: ServerProcess, provider: CanailleProcess, new_page: Callable[..., Page]
) -> None:
    """An admin sets it up, tests it and switches it on; a member comes in with the role of a claim; a stranger does not."""
    admin = new_page()
    admin.goto(PAGE)
    sign_in(admin, ADMIN)
    expect(admin.locator("#redirect-uri")).to_have_text(f"{server.url}/accounts/sso/1/callback/")
    admin.get_by_label("Name").fill("Canaille")
    admin.get_by_label("Issuer").fill(provider.issuer + "/")
    admin.get_by_label("Client ID").fill(CLIENT_ID)
    admin.get_by_label("Client secret").fill(CLIENT_SECRET)
    admin.get_by_label("Scopes").fill("openid profile email groups")
    admin.get_by_role("button", name="Save connection").click()
    expect(admin.get_by_text("which is not the issuer entered")).to_be_visible()
    keep(admin, "single-sign-on-error")
    check_accessible(admin)
    admin.get_by_label("Issuer").fill(provider.issuer)
    admin.get_by_label("Client secret").fill(CLIENT_SECRET)
    admin.get_by_role("button", name="Save connection").click()
    expect(admin.get_by_text("Not tested")).to_be_visible()
    expect(admin.get_by_label("Single sign-on is on")).to_be_disabled()

    admin.get_by_label("Allowed e-mail domains").fill("example.com")
    admin.get_by_label("Create accounts on first sign-in").check()
    row = admin.locator("tbody tr").first
    row.get_by_label("Claim").fill("groups")
    row.get_by_label("Value").fill("auditors")
    row.get_by_label("Role").select_option("auditor")
    admin.get_by_role("button", name="Save accounts and roles").click()

    admin.get_by_role("button", name="Test sign-in").click()
    at_provider(admin, provider, "ada")
    expect(admin.get_by_text("The sign-in with Canaille works")).to_be_visible()
    expect(admin.get_by_label("Claims")).to_contain_text('"email": "ada@example.com"')
    expect(admin.locator(".facts")).to_contain_text("would be created")
    expect(admin.locator(".facts")).to_contain_text("member (no rule matches)")
    for scheme in ("light", "dark"):
        admin.emulate_media(color_scheme=scheme)
        keep(admin, f"single-sign-on-tested-{scheme}")
        check_accessible(admin)
    admin.get_by_role("link", name="Back to Single sign-on").click()
    admin.get_by_label("Single sign-on is on").check()
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin.get_by_text("Single sign-on is on.", exact=True)).to_be_visible()

    member = new_page()
    member.goto("/profile/sessions/")
    keep(member, "sign-in-with-provider")
    check_accessible(member)
    member.get_by_role("button", name="Sign in with Canaille").click()
    at_provider(member, provider, "max")
    expect(member).to_have_url(f"{server.url}/profile/sessions/")
    member.goto("/profile/")
    expect(member.locator(".user-menu > summary")).to_contain_text("Max Muster")
    expect(member.locator("main")).to_contain_text("Auditor")

    without_scripts = new_page(java_script_enabled=False)
    without_scripts.goto("/profile/")
    without_scripts.get_by_role("button", name="Sign in with Canaille").click()
    at_provider(without_scripts, provider, "max")
    expect(without_scripts).to_have_url(f"{server.url}/profile/")

    stranger = new_page()
    stranger.goto("/")
    stranger.get_by_role("button", name="Sign in with Canaille").click()
    at_provider(stranger, provider, "eve")
    expect(stranger.get_by_text("This account may not sign in here.")).to_be_visible()
    keep(stranger, "sign-in-refused")
    check_accessible(stranger)

    admin.goto("/insights/audit-logs/?q=action:login.*")
    rows = admin.locator("main")
    expect(rows).to_contain_text(re.compile("Max Muster.*signed in", re.DOTALL))
    expect(rows).to_contain_text("failed to sign in")
    admin.goto("/insights/audit-logs/?q=action:user.created actor:oidc_1")
    expect(admin.locator("main")).to_contain_text("max@example.com")
    admin.goto("/insights/audit-logs/?q=action:oidc.configured")
    expect(admin.locator("main")).not_to_contain_text(CLIENT_SECRET)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_pages_are_accessible_and_fit(new_page: Callable[..., Page], viewport: dict[str, int]) -> None:
    """In both themes, on a desk and on a phone; the list of linked accounts too."""
    page = new_page(viewport=viewport)
    page.goto(PAGE)
    sign_in(page, ADMIN)
    for name, path in {"single-sign-on": PAGE, "single-sign-on-linked": PAGE + "linked/"}.items():
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            keep(page, f"{name}-{'phone' if viewport is PHONE else 'desktop'}-{scheme}")
            check_accessible(page)
