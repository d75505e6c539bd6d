"""Each role signs in and sees what is theirs: admin, auditor before and after an admin allows it, member."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MEMBER, NewPage, Site, check_accessible, keep
from tests.browser.test_log import LOG, rows

LIMITED = ("lena.limited@example.com", "a limited pass phrase 7")
AUDITOR = ("ada.auditor@example.com", "an auditor's pass phrase 7")
_REFUSED = "Failed to load resource: the server responded with a status of 40"
INSIGHTS = ["Audit Logs", "Incidents", "Event types", "Exports"]


@pytest.fixture(scope="module")
def _auditor(site: Site) -> None:
    _create(site, AUDITOR, "Ada Auditor")


@pytest.fixture(scope="module")
def _limited(site: Site) -> None:
    _create(site, LIMITED, "Lena Limited")


def _create(site: Site, account: tuple[str, str], name: str) -> None:
    site.server.command(
        "createuser", account[0], "--role", "auditor", "--name", name, "--password-stdin", stdin=account[1] + "\n"
    )


def links(page: Page) -> list[str]:
    """What the navigation offers."""
    return [text.strip() for text in page.locator(".nav a").all_text_contents()]


def let_auditors_read(admin: Page, allowed: bool) -> None:
    """As an admin does it."""
    admin.goto("/settings/security/")
    box = admin.get_by_label(re.compile("Auditors may read"))
    box.set_checked(allowed)
    box.locator("xpath=ancestor::form").get_by_role("button").first.click()
    expect(admin.get_by_label(re.compile("Auditors may read"))).to_be_checked(checked=allowed)


@pytest.fixture
def admin(new_page: NewPage) -> Iterator[Page]:
    """An admin, who afterwards leaves the log to admins alone again."""
    page = new_page()
    yield page
    let_auditors_read(page, False)


@pytest.mark.usefixtures("_auditor")
def test_an_auditor_reads_once_an_admin_allows_it_and_not_after(new_page: NewPage, admin: Page):
    """Refused at first; then the log, an event and an export; refused again at the first click after it was taken back."""
    auditor = new_page(account=AUDITOR, allow=_REFUSED)
    auditor.goto("/")
    expect(auditor).to_have_url(re.compile("/insights/incidents/$"))
    assert links(auditor) == ["Incidents", "Event types"]
    keep(auditor, "role-auditor-not-allowed")
    response = auditor.goto(LOG)
    assert response is not None and response.status == 403
    expect(auditor.get_by_role("heading", level=1)).to_have_text("Access denied")
    keep(auditor, "role-auditor-refused")

    let_auditors_read(admin, True)
    auditor.goto("/")
    expect(auditor).to_have_url(re.compile(LOG))
    assert links(auditor) == INSIGHTS
    expect(rows(auditor).first).to_be_visible()
    keep(auditor, "role-auditor-log")
    check_accessible(auditor)
    rows(auditor).first.locator("a.sentence").click()
    expect(auditor.get_by_role("heading", name="Raw JSON")).to_be_visible()
    auditor.goto(LOG)
    auditor.locator(".export-menu > summary").click()
    with auditor.expect_download() as download:
        auditor.get_by_role("button", name="Export", exact=True).click()
    assert download.value.suggested_filename.endswith(".csv")
    auditor.goto("/insights/exports/")
    expect(auditor.locator(".table tbody tr")).to_have_count(1)  # one's own; the admin sees all
    for path in ("/settings/users/", "/settings/security/", "/settings/api-keys/", "/settings/data-retention/"):
        response = auditor.goto(path)
        assert response is not None and response.status == 403, path

    admin.goto(f"{LOG}?q=action:audit_log.viewed actor:{AUDITOR[0]}")
    expect(rows(admin).first).to_contain_text("Ada Auditor read the audit log")
    keep(admin, "role-admin-sees-views")
    let_auditors_read(admin, False)
    response = auditor.goto(LOG)
    assert response is not None and response.status == 403


@pytest.mark.usefixtures("_limited")
def test_a_period_is_said_and_kept(new_page: NewPage, site: Site, admin: Page):
    """An admin limits the auditor's account; the page says so, and the empty range speaks of what is inside."""
    let_auditors_read(admin, True)
    admin.goto("/settings/users/")
    admin.get_by_role("link", name="Lena Limited").click()
    admin.get_by_label("Log from").fill("2001-01-01T00:00")
    admin.get_by_label("Log until").fill("2001-02-01T00:00")
    keep(admin, "role-period-form")
    admin.get_by_role("button", name="Save").first.click()
    auditor = new_page(account=LIMITED)
    auditor.goto(LOG)
    expect(auditor.get_by_text("You may read what occurred within a period")).to_be_visible()
    expect(rows(auditor)).to_have_count(0)
    expect(auditor.get_by_role("heading", name="Nothing in your period")).to_be_visible()
    keep(auditor, "role-auditor-period")
    check_accessible(auditor)


def test_a_member_sees_incidents_and_the_catalogue(new_page: NewPage):
    """No log, no exports, no settings; their own profile."""
    member = new_page(account=MEMBER, allow=_REFUSED)
    member.goto("/")
    assert links(member) == ["Incidents", "Event types"]
    for path in (LOG, "/insights/exports/", "/settings/users/", "/settings/general/", "/settings/integrations/"):
        response = member.goto(path)
        assert response is not None and response.status == 403, path
    for path in ("/insights/incidents/", "/profile/", "/profile/second-factor/", "/profile/sessions/"):
        response = member.goto(path)
        assert response is not None and response.status == 200, path
    keep(member, "role-member")


def test_an_admin_sees_all_of_it(new_page: NewPage):
    """Every section of the navigation, and every page of it answers."""
    page = new_page()
    page.goto("/")
    offered = links(page)
    assert offered[:4] == INSIGHTS
    assert {"General", "Security", "Users", "Single sign-on", "Integrations", "API keys", "Data Retention"} <= set(
        offered
    )
    for href in [link.get_attribute("href") for link in page.locator(".nav a").all()]:
        response = page.goto(str(href))
        assert response is not None and response.status == 200, href
    keep(page, "role-admin")
