"""An admin invites somebody, who chooses a password elsewhere and comes in, and whom the admin then shows out."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPage, check_accessible, keep, sign_in

PASSWORD = "seven quiet mountains 7"


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_an_invited_person_comes_in_and_is_shown_out(new_page: NewPage, scripts: bool):
    """The link works in another browser, once; deactivation signs that browser out at its next request."""
    email = f"ines-{'on' if scripts else 'off'}@example.com"
    admin, member = new_page(scripts=scripts), new_page(scripts=scripts, account=None)
    admin.goto("/settings/users/")
    admin.get_by_role("link", name="Invite", exact=True).click()
    admin.get_by_label("Name").fill("Ines Invited")
    admin.get_by_label("E-mail").fill(email)
    admin.get_by_role("button", name="Create account and link").click()
    link = admin.locator("#link").inner_text()

    member.goto(link)
    assert link.rstrip("/").rpartition("-")[2] not in member.url, "the token has left the address"
    expect(member.get_by_role("heading", level=1)).to_have_text("Set your password")
    for label in ("New password", "New password again"):
        member.get_by_label(label, exact=True).fill(PASSWORD)
    member.get_by_role("button", name="Set password").click()
    expect(member).to_have_url(re.compile("/accounts/login/"))
    sign_in(member, (email, PASSWORD))
    expect(member).to_have_url(re.compile("/insights/"))

    admin.get_by_role("link", name="Done").click()
    expect(admin.locator(".facts")).to_contain_text("active")
    admin.get_by_role("link", name="Deactivate").click()
    admin.get_by_role("button", name="Deactivate").click()
    expect(admin.get_by_text("is deactivated and signed out")).to_be_visible()
    member.goto("/profile/")
    expect(member).to_have_url(re.compile("/accounts/login/"))
    member.goto(link)
    expect(member.get_by_role("heading", level=1)).to_have_text("This link does not work any more")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_of_users_are_accessible(new_page: NewPage, scheme: str):
    """The list, inviting, the link, somebody's page, one's own, and the question before deactivating."""
    page = new_page(scheme=scheme)
    stranger = new_page(scheme=scheme, account=None)

    def look(name: str, at=page) -> None:
        keep(at, f"users-{name}-{scheme}")
        check_accessible(at)

    page.goto("/settings/users/")
    look("list")
    page.goto("/settings/users/?q=nobody-at-all&role=auditor")
    look("nobody")
    page.goto("/settings/users/new/")
    look("invite")
    page.get_by_label("E-mail").fill(f"look-{scheme}@example.com")
    page.get_by_label("Role").select_option("auditor")
    page.get_by_role("button", name="Create account and link").click()
    look("link")
    stranger.goto(page.locator("#link").inner_text())
    look("set-password", stranger)
    stranger.goto("/accounts/password/1-abc-def/")
    look("dead-link", stranger)
    page.get_by_role("link", name="Done").click()
    look("account")
    page.get_by_role("link", name="Deactivate").click()
    look("deactivate")
    page.goto("/settings/users/")
    page.locator("tr", has=page.get_by_text("You", exact=True)).get_by_role("link").click()
    expect(page.get_by_text("Cannot be deactivated.")).to_be_visible()
    look("own")
