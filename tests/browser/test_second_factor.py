"""Passkeys and authenticator apps in a real browser, from setting them up to signing in with them and back to the log."""

from __future__ import annotations

import base64
import re
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, NewPage, Site, check_accessible, keep, sign_in

PASSWORD = "keys and more keys 9"
_ON_PURPOSE = "Failed to load resource: the server responded with a status of 40"


def account(site: Site, name: str) -> tuple[str, str]:
    """A member of its own for a test, so that no other test meets its second factor."""
    email = f"{name.lower()}@example.com"
    site.server.command(
        "createuser", email, "--role", "member", "--name", name, "--password-stdin", stdin=PASSWORD + "\n"
    )
    return email, PASSWORD


def by_name(site: Site) -> str:
    """The server by a host name: a passkey belongs to one, and an address is none."""
    return f"http://localhost:{site.server.port}"


def virtual_key(page: Page, **options: Any) -> Any:
    """A passkey provider that agrees to everything; returns a function that lists its credentials."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    made = devtools.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
                **options,
            }
        },
    )
    return lambda: devtools.send("WebAuthn.getCredentials", made)["credentials"]


def prove(page: Page) -> None:
    """Type the password once more."""
    expect(page.get_by_role("heading", level=1)).to_have_text("Confirm that it is you")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()


def sign_out(page: Page) -> None:
    page.locator(".user-menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/accounts/login/"))


def check(page: Page, name: str) -> None:
    """Accessible in both themes, and a picture of it."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        keep(page, f"{name}-{scheme}")
        check_accessible(page)
    page.emulate_media(color_scheme="light")


def log_says(new_page: NewPage, query: str, text: str) -> None:
    """The newest event of this query reads so."""
    admin = new_page()
    admin.goto(f"/insights/audit-logs/?q={query}")
    expect(admin.locator(".log-table tbody:not(.more) tr").first).to_contain_text(text)


def test_a_passkey_signs_in_instead_of_the_password(new_page: NewPage, site: Site) -> None:
    """Added in the profile, kept by the browser, used on the sign-in page and as a second factor; the log tells each."""
    owner = account(site, "Paula")
    page = new_page(account=None, allow=_ON_PURPOSE)
    credentials = virtual_key(page)
    page.goto(f"{by_name(site)}/accounts/login/")
    sign_in(page, owner)
    page.goto(f"{by_name(site)}/profile/second-factor/")
    check(page, "second-factor-none")
    page.get_by_role("link", name="Add a passkey").click()
    check(page, "prove")
    prove(page)
    page.get_by_label("Name").fill("Laptop")
    check(page, "passkey-add")
    page.get_by_role("button", name="Add the passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    check(page, "recovery-codes")
    expect(page.locator("#recovery-codes")).to_have_text(re.compile(r"^(\s*\d{8}\s*){10}$"))
    assert [credential["isResidentCredential"] for credential in credentials()] == [True]
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_role("cell", name=re.compile("^Laptop"))).to_be_visible()
    check(page, "second-factor")

    sign_out(page)
    check(page, "sign-in-passkey")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(lambda url: "/accounts/" not in url)
    expect(page.locator(".user-name")).to_contain_text("Paula")
    log_says(new_page, "actor:paula@example.com action:login.success passkey", "Paula signed in")

    sign_out(page)
    page.get_by_label("E-mail").fill(owner[0])
    page.get_by_label("Password").fill(owner[1])
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Second factor")
    check(page, "second-step")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(lambda url: "/accounts/" not in url)
    log_says(new_page, "actor:paula@example.com action:login.success webauthn", "Paula signed in")

    page.goto(f"{by_name(site)}/profile/second-factor/")
    page.get_by_role("link", name="Remove Laptop").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Confirm that it is you")
    page.get_by_role("link", name="Use a security key").click()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Remove Laptop?")
    check(page, "passkey-remove")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("The passkey is removed.")).to_be_visible()
    log_says(new_page, "actor:paula@example.com action:user.updated", "passkey")


def test_a_passkey_that_the_browser_refuses_is_said_on_the_page(new_page: NewPage, site: Site) -> None:
    """Cancelled, or by an address where passkeys cannot be: in words, not in the console."""
    page = new_page(account=None)
    virtual_key(page)
    page.goto(f"{by_name(site)}/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("no passkey fits")
    check_accessible(page)
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("they need a host name")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_an_app_is_set_up_and_asked_for(new_page: NewPage, site: Site, scripts: bool) -> None:
    """Reading the key off the page as an app does; the next sign-in asks for a code, with scripts or without."""
    owner = account(site, f"Tina{'s' if scripts else 'n'}")
    page = new_page(account=None, scripts=scripts, viewport=PHONE, allow=_ON_PURPOSE)
    page.goto("/accounts/login/")
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_visible(visible=scripts)
    sign_in(page, owner)
    page.goto("/profile/second-factor/")
    page.get_by_role("link", name="Set up an app").click()
    prove(page)
    expect(page.get_by_role("img", name="QR code of the key")).to_be_visible()
    if scripts:
        check(page, "app-add-phone")
    key = page.locator("#totp-key").inner_text()
    totp = TOTP(base64.b32decode(key), 6, SHA1(), 30, enforce_key_length=False)
    page.get_by_label("Code of the app").fill(totp.generate(int(time.time())).decode())
    page.get_by_role("button", name="Turn it on").click()
    codes = page.locator("#recovery-codes").inner_text().split()
    assert len(codes) == 10
    page.context.clear_cookies()
    page.goto("/accounts/login/")
    page.get_by_label("E-mail").fill(owner[0])
    page.get_by_label("Password").fill(owner[1])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("This was not right.")).to_be_visible()
    if scripts:
        check(page, "second-step-wrong-phone")
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/accounts/" not in url)
    if scripts:
        log_says(new_page, f"actor:{owner[0]} action:login.failure", "failed to sign in")
