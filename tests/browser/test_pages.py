"""Every page in light and dark, on a desktop and on a phone: axe finds nothing, nothing sticks out, and a picture is kept."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, MEMBER, PHONE, NewPage, check_accessible, keep

PAGES = {
    "audit-logs": "/insights/audit-logs/",
    "audit-logs-filtered": "/insights/audit-logs/?q=-outcome:success -action:logout&range=30d&tz=Europe/Berlin",
    "audit-logs-error": "/insights/audit-logs/?q=actr:alice",
    "audit-logs-nothing": "/insights/audit-logs/?q=actor:nobody-at-all",
    "audit-logs-empty-range": "/insights/audit-logs/?from=2001-01-01&to=2001-01-31",
    "event": "/insights/audit-logs/100/",
    "incidents": "/insights/incidents/",
    "incidents-filtered": "/insights/incidents/?status=open&severity=critical&q=nothing-like-it",
    "incident-new": "/insights/incidents/new/?event=100",
    "incident-attach": "/insights/incidents/attach/100/",
    "event-types": "/insights/event-types/",
    "exports": "/insights/exports/",
    "single-sign-on": "/settings/single-sign-on/",
    "single-sign-on-linked": "/settings/single-sign-on/linked/",
    "data-retention": "/settings/data-retention/",
    "legal-holds": "/settings/data-retention/holds/",
    "legal-hold-new": "/settings/data-retention/holds/new/",
    "approvals": "/settings/approvals/",
    "integrations-empty": "/settings/integrations/",
    "integration-new": "/settings/integrations/new/",
    "api-keys": "/settings/api-keys/",
    "users": "/settings/users/",
    "invite": "/settings/users/new/",
    "user": "/settings/users/1/",
    "general": "/settings/general/",
    "security": "/settings/security/",
    "second-factor": "/profile/second-factor/",
    "reauthenticate": "/accounts/reauthenticate/",
    "profile": "/profile/",
    "password": "/profile/password/",
    "sessions": "/profile/sessions/",
    "not-found": "/nowhere/",
}
_ON_PURPOSE = "Failed to load resource: the server responded with a status of 40"


def _nothing_sticks_out(page: Page) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"the page is {wide} px wider than the screen"


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_fits(new_page: NewPage, name: str, viewport: dict[str, int]):
    """WCAG AA by axe in both themes, no sideways scrolling at 360 px, and one heading that says where one is."""
    page = new_page(viewport=viewport, allow=_ON_PURPOSE)
    page.goto(PAGES[name])
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    _nothing_sticks_out(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        keep(page, f"{name}-{'phone' if viewport is PHONE else 'desktop'}-{scheme}")
        check_accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_signing_in_is_accessible(new_page: NewPage, scheme: str):
    """The first page anybody sees."""
    page = new_page(scheme=scheme, account=None)
    page.goto("/")
    expect(page).to_have_url(re.compile(r"/accounts/login/\?next=/$"))
    keep(page, f"sign-in-{scheme}")
    check_accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_open_menus_are_accessible(new_page: NewPage, scheme: str):
    """Export, syntax, range and user menu, each open."""
    page = new_page(scheme=scheme)
    page.goto(PAGES["audit-logs"])
    for menu in (".export-menu", ".syntax-menu", ".range-menu", ".user-menu"):
        page.locator(f"{menu} > summary").click()
        expect(page.locator(f"{menu} > .menu-panel")).to_be_visible()
        expect(page.locator("details.menu[open]")).to_have_count(1)
        keep(page, f"menu{menu.removeprefix('.').replace('-', '_')}-{scheme}")
        check_accessible(page)
        page.keyboard.press("Escape")


@pytest.mark.parametrize("drawer", ["nav", "facets"])
def test_drawers_of_a_phone_open_close_and_are_accessible(new_page: NewPage, drawer: str):
    """Navigation and filters are one touch away on a small screen, and go away again."""
    page = new_page(viewport=PHONE)
    page.goto(PAGES["audit-logs"])
    inside = page.locator(f"#{drawer}")
    expect(inside).to_be_hidden()
    page.locator(f"button[popovertarget={drawer}]:visible").click()
    expect(inside).to_be_visible()
    keep(page, f"drawer-{drawer}-phone")
    check_accessible(page)
    inside.locator(".drawer-close").click()
    expect(inside).to_be_hidden()


def test_the_theme_can_be_chosen_and_stays(new_page: NewPage):
    """Dark on a light system, on every page, until the system is to be followed again."""
    page = new_page(scheme="light")
    page.goto(PAGES["event-types"])
    light = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.locator(".user-menu > summary").click()
    page.get_by_role("button", name="Dark", exact=True).click()
    expect(page).to_have_url(re.compile("/insights/event-types/$"))
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != light
    page.goto(PAGES["audit-logs"])
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator(".user-menu > summary").click()
    page.get_by_role("button", name="System", exact=True).click()
    expect(page.locator("html")).not_to_have_attribute("data-theme", "dark")


def test_every_page_says_that_the_data_is_a_demo(new_page: NewPage):
    """Nobody mistakes invented events for real ones."""
    page = new_page()
    for path in ("/insights/audit-logs/", "/insights/event-types/", "/profile/"):
        page.goto(path)
        expect(page.get_by_text("Demo data.")).to_be_visible()


def test_a_member_is_refused_the_log_and_the_refusal_is_in_the_log(new_page: NewPage):
    """Others than admins get 403, do not see the link, and the denial is recorded."""
    member = new_page(account=MEMBER, allow=_ON_PURPOSE)
    member.goto("/")
    expect(member).to_have_url(re.compile("/insights/incidents/$"))
    expect(member.locator(".nav a")).to_have_text(["Incidents", "Event types"])
    response = member.goto(PAGES["audit-logs"])
    assert response is not None and response.status == 403
    expect(member.get_by_role("heading", level=1)).to_have_text("Access denied")
    check_accessible(member)
    admin = new_page()
    admin.goto(f"/insights/audit-logs/?q=action:access.denied actor:{MEMBER[0]}")
    expect(admin.locator(".log-table tbody:not(.more) tr").first).to_contain_text("Mel Member was denied access")
