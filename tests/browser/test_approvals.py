"""Two admins and the log's protection: shortening is asked for, approved by the other, scheduled, and cancelled."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, Site, check_accessible, keep

SECOND = ("carol@example.com", "a second admin's pass phrase 8")
RETENTION, APPROVALS = "/settings/data-retention/", "/settings/approvals/"


@pytest.fixture
def second_admin(site: Site) -> tuple[str, str]:
    """Carol, an admin too."""
    site.server.command(
        "createuser", SECOND[0], "--role", "admin", "--name", "Carol Second", "--password-stdin",
        stdin=SECOND[1] + "\n", check=False,
    )  # fmt: skip
    return SECOND


def both_schemes(page: Page, name: str) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        keep(page, f"{name}-{scheme}")
        check_accessible(page)


def choose(page: Page, label: str) -> None:
    page.goto(RETENTION)
    page.get_by_label(label, exact=True).check()
    page.get_by_role("button", name="Save audit retention").click()


def test_shortening_takes_two_admins_and_time(new_page: NewPage, second_admin: tuple[str, str]) -> None:
    """Asked for, seen by the other on any page, approved, scheduled with who and when, cancelled; all of it in the log."""
    first, second = new_page(), new_page(account=second_admin)
    choose(first, "180 days")
    expect(first.get_by_text("Another admin has to approve this")).to_be_visible()
    expect(first.get_by_text("it waits for another admin’s approval")).to_be_visible()
    both_schemes(first, "retention-requested")

    second.goto("/profile/")
    link = second.get_by_role("link", name=re.compile("Approvals 1"))
    expect(link).to_be_visible()
    link.click()
    both_schemes(second, "approvals-waiting")
    second.get_by_role("button", name="Approve Keep audit events for 180 days").click()
    expect(second.get_by_text("Approved: Keep audit events for 180 days")).to_be_visible()
    both_schemes(second, "approvals-decided")
    expect(second.get_by_role("link", name=re.compile("Approvals 1"))).to_have_count(0)

    first.goto(RETENTION)
    banner = first.locator(".banner", has_text="Keep audit events for 180 days instead of 1 year")
    expect(banner).to_contain_text("approved by Carol Second")
    expect(first.locator("dd", has_text="1 year").first).to_be_visible()
    both_schemes(first, "retention-scheduled")
    banner.get_by_role("button", name="Cancel this change").click()
    expect(first.get_by_text("What was in force stays so")).to_be_visible()
    expect(banner).to_have_count(0)

    first.goto("/insights/audit-logs/?q=action:approval.*,retention.change*&range=24h")
    for said in (
        "asked for approval",
        "approved",
        "scheduled a change that weakens",
        "cancelled the change that weakens",
    ):
        expect(first.locator("main")).to_contain_text(said)


def test_a_legal_hold_is_placed_and_its_release_waits(new_page: NewPage, second_admin: tuple[str, str]) -> None:
    """Without scripts: the form counts first, then places; releasing asks the second admin, who refuses."""
    first, second = new_page(scripts=False), new_page(scripts=False, account=second_admin)
    first.goto(RETENTION)
    first.get_by_role("link", name="Place a hold").click()
    both_schemes_without_scripts(first, "hold-form")
    first.get_by_label("Name").fill("Case 2026-17")
    first.get_by_label("Events").fill("action:login.failure")
    first.get_by_label("Reason").fill("A court asked for it.")
    first.get_by_role("button", name="Count the events").click()
    expect(first.locator("#confirm")).to_contain_text(re.compile(r"[\d,]+ events?, from"))
    both_schemes_without_scripts(first, "hold-confirm")
    first.get_by_role("button", name="Place the hold").click()
    expect(first.get_by_text("The hold Case 2026-17 is placed.")).to_be_visible()
    both_schemes_without_scripts(first, "holds")
    first.get_by_role("link", name="Release Case 2026-17").click()
    both_schemes_without_scripts(first, "hold-release")
    first.get_by_role("button", name="Ask for approval").click()
    expect(first.get_by_text("that waits for approval")).to_be_visible()
    second.goto(APPROVALS)
    second.get_by_role("button", name="Reject Release the legal hold Case 2026-17").click()
    expect(second.get_by_text("Rejected: Release the legal hold")).to_be_visible()
    first.goto(RETENTION + "holds/")
    expect(first.get_by_role("link", name="Release Case 2026-17")).to_be_visible()


def both_schemes_without_scripts(page: Page, name: str) -> None:
    """Only pictures: axe is a script."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        keep(page, f"{name}-{scheme}")
