"""Incidents in the browsers of an admin, an auditor and a member, with and without scripts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, MEMBER, PHONE, NewPage, Site, check_accessible, keep
from tests.browser.test_pages import _nothing_sticks_out

PAGE = "/insights/incidents/"
AUDITOR = ("auditor@example.com", "an auditor's pass phrase 7")


@pytest.fixture(scope="module")
def auditor(site: Site) -> tuple[str, str]:
    """An auditor's account."""
    site.server.command(
        "createuser", AUDITOR[0], "--role", "auditor", "--name", "Audra Auditor", "--password-stdin",
        stdin=AUDITOR[1] + "\n",
    )  # fmt: skip
    return AUDITOR


def open_incident(page: Page, title: str) -> str:
    """Open an incident by hand; return its address."""
    page.goto(PAGE)
    page.get_by_role("link", name="Open an incident").click()
    page.get_by_label("Title").fill(title)
    page.get_by_label("Severity").select_option("critical")
    page.get_by_label("Description").fill("Orders fail since noon.\nTwo customers called.")
    page.get_by_role("button", name="Open incident").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(title)
    return page.url


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_incident_is_accessible_and_fits(new_page: NewPage, viewport: dict[str, int]) -> None:
    """One of the demo's with a timeline, in both themes: axe finds nothing and nothing sticks out."""
    page = new_page(viewport=viewport)
    page.goto("/insights/audit-logs/?q=action:incident.commented&range=all")
    page.goto(PAGE + "?status=resolved")
    page.locator(".incident-title a").first.click()
    expect(page.get_by_role("heading", level=2)).to_contain_text(["Description", "Timeline", "Notes", "Details"])
    _nothing_sticks_out(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        keep(page, f"incident-{'phone' if viewport is PHONE else 'desktop'}-{scheme}")
        check_accessible(page)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_a_member_works_on_an_incident_and_the_log_says_who_looked(new_page: NewPage, scripts: bool) -> None:
    """Opening, editing and noting by forms; an admin then finds the member's looks in the log by the incident's name."""
    member = new_page(account=MEMBER, scripts=scripts)
    address = open_incident(member, f"Payments fail ({scripts})")
    member.get_by_label("Status").select_option("acknowledged")
    member.get_by_role("button", name="Save changes").click()
    expect(member.locator(".incident-badges")).to_contain_text("Acknowledged")
    member.get_by_role("textbox", name="Note").fill("Restarted the workers.")
    member.get_by_role("button", name="Add note").click()
    expect(member.locator(".incident-note")).to_have_count(1)
    expect(member.locator(".incident-note")).to_contain_text("Mel Member")
    expect(member.get_by_role("button", name="Attach event")).to_have_count(0)
    number = address.rstrip("/").rsplit("/", 1)[1]
    admin = new_page()
    admin.goto(address)
    admin.get_by_role("link", name="History in the log").click()
    rows = admin.locator(".log-table tbody:not(.more) tr")
    expect(rows.filter(has_text="viewed")).to_have_count(4)
    expect(rows.filter(has_text="Mel Member viewed")).to_have_count(3)
    expect(rows.filter(has_text="opened")).to_have_count(1)
    expect(admin).to_have_url(re.compile(f"target=incident_{number}"))


def test_an_admin_goes_from_an_event_to_an_incident_and_back(new_page: NewPage) -> None:
    """An incident is opened with the event on its timeline, another event is attached to it, and each leads to the other."""
    page = new_page()
    page.goto("/insights/audit-logs/120/")
    said = page.get_by_role("heading", level=1).inner_text()
    page.get_by_role("link", name="Open an incident with this event").click()
    page.get_by_label("Title").fill("Seen in the log")
    page.get_by_role("button", name="Open incident").click()
    expect(page.locator(".incident-timeline li")).to_have_count(1)
    number = page.url.rstrip("/").rsplit("/", 1)[1]
    page.goto("/insights/audit-logs/121/")
    page.get_by_role("link", name="Attach to an incident").click()
    page.get_by_role("button", name=f"Attach to #{number}", exact=True).click()
    expect(page.locator(".incident-timeline li")).to_have_count(2)
    keep(page, "incident-with-events")
    page.get_by_role("link", name=said).first.click()
    expect(page).to_have_url(re.compile("/insights/audit-logs/12[01]/"))
    page.get_by_role("link", name=f"#{number} Seen in the log").click()
    page.get_by_role("link", name="Log around these events").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit Logs")
    expect(page.locator(".log-table tbody:not(.more) tr").first).to_be_visible()


def test_a_lost_update_shows_both(new_page: NewPage) -> None:
    """Two windows on one incident: the second to save is told, sees what there is, and still sees what it entered."""
    first, second = new_page(), new_page(allow="Failed to load resource: the server responded with a status of 409")
    address = open_incident(first, "Edited twice")
    second.goto(address)
    first.get_by_label("Severity").select_option("low")
    first.get_by_role("button", name="Save changes").click()
    expect(first.locator(".incident-badges")).to_contain_text("Low")
    second.get_by_label("Title").fill("Edited by somebody else")
    second.get_by_role("button", name="Save changes").click()
    alert = second.get_by_role("alert")
    expect(alert).to_contain_text("Your change was not saved")
    expect(alert).to_contain_text("Edited by somebody else")
    expect(second.get_by_label("Severity")).to_have_value("low")
    check_accessible(second)
    keep(second, "incident-conflict")


def test_an_auditor_reads_incidents_and_attaches_once_an_admin_allows_it(
    new_page: NewPage, auditor: tuple[str, str]
) -> None:
    """Off by default: incidents without a way into the log. Once allowed, the same page leads there."""
    admin = new_page()
    address = open_incident(admin, "For the auditor")
    admin.get_by_label("Event", exact=True).fill("130")
    admin.get_by_role("button", name="Attach event").click()
    expect(admin.locator(".incident-timeline li a").first).to_be_visible()
    page = new_page(account=auditor)
    page.goto(address)
    expect(page.locator(".incident-timeline li")).to_have_count(1)
    expect(page.locator(".incident-timeline a")).to_have_count(0)
    admin.goto("/settings/security/")
    allowed = admin.get_by_role("checkbox", name=re.compile("auditors", re.IGNORECASE))
    allowed.check()
    allowed.locator("xpath=ancestor::form").get_by_role("button").first.click()
    page.reload()
    expect(page.locator(".incident-timeline a").first).to_be_visible()
    page.get_by_label("Event", exact=True).fill("131")
    page.get_by_role("button", name="Attach event").click()
    expect(page.locator(".incident-timeline li")).to_have_count(2)
    admin.goto("/settings/security/")
    allowed.uncheck()
    allowed.locator("xpath=ancestor::form").get_by_role("button").first.click()
