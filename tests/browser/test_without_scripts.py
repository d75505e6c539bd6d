"""The log without JavaScript: every control is a link or a form."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import NewPage, keep
from tests.browser.test_log import LOG, query_of, rows, settled_days, total


def test_the_log_works_without_scripts(new_page: NewPage):
    """Search, rail, chips, presets, range, paging, event, neighbours: all of it."""
    page = new_page(scripts=False)
    page.goto(f"{LOG}?{settled_days()}")
    everything = total(page)
    page.locator("#q").fill("outcome:failure")
    page.get_by_role("button", name="Search").click()
    assert 0 < total(page) < everything
    page.locator(".chip").click()
    assert total(page) == everything
    page.locator(".facet-row", has_text="Signed in").locator(".facet-value").click()
    assert query_of(page)["q"] == ["action:login.success"]
    page.get_by_role("link", name="30 d").click()
    assert query_of(page) == {"q": ["action:login.success"], "range": ["30d"]}
    page.get_by_role("link", name="Load more").click()
    expect(page.get_by_text("Older events, continued")).to_be_visible()
    expect(rows(page)).to_have_count(50)
    keep(page, "second-page-without-scripts")
    page.get_by_role("link", name="Back to the newest").click()
    rows(page).first.locator(".sentence").click()
    expect(page.locator("#raw")).to_contain_text('"login.success"')
    expect(page.locator("[data-copy]")).to_be_hidden()
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#raw")).to_contain_text('"login.success"')


def test_menus_and_forms_open_without_scripts(new_page: NewPage):
    """Export, range, theme: menus are the browser's own."""
    page = new_page(scripts=False)
    page.goto(LOG)
    page.locator(".range-menu > summary").click()
    page.get_by_label("Time zone").select_option("Europe/Berlin")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".range-menu > summary")).to_contain_text("Europe/Berlin")
    page.locator(".export-menu > summary").click()
    expect(page.locator(".export-form").get_by_role("button", name="Export")).to_be_visible()
    page.locator(".user-menu > summary").click()
    page.get_by_role("button", name="Dark", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page).to_have_url(re.compile("tz=Europe"))
