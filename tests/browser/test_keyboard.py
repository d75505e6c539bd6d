"""The log by keyboard alone: everything can be reached, focus is seen, and nothing holds it."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.test_log import LOG, rows

_FOCUS_IS_SEEN = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const slot = element.querySelector && element.querySelector(".slot");
  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
    || slot !== null && getComputedStyle(slot).strokeWidth !== "0px" && getComputedStyle(slot).stroke !== "none";
}"""


def _tab_to(page: Page, selector: str, presses: int = 250) -> None:
    for _ in range(presses):
        page.keyboard.press("Tab")
        assert page.evaluate(_FOCUS_IS_SEEN), page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} cannot be reached with the Tab key")


def test_the_skip_link_is_first_and_leads_to_the_content(new_page: NewPage):
    """One press shows it, one takes it."""
    page = new_page()
    page.goto(LOG)
    page.keyboard.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()


def test_everything_on_the_way_to_an_event_is_reached_and_seen(new_page: NewPage):
    """Query bar, presets, rail with its exclusions, bars, rows: Tab reaches each, with a visible focus."""
    page = new_page()
    page.goto(LOG)
    for selector in (".nav a", ".user-menu > summary", ".export-menu > summary", "#q", ".syntax-menu > summary",
                     ".segmented a", ".range-menu > summary", ".facet-value", ".facet-exclude", ".legend a",
                     ".skip-bars", ".bars a", ".c-actor a", "a.sentence"):  # fmt: skip
        _tab_to(page, selector)
    page.keyboard.press("Enter")
    expect(page.locator("#raw")).to_be_visible()


def test_slash_goes_to_the_query_bar_and_enter_searches(new_page: NewPage):
    """As in other tools; a slash typed into the bar stays a slash."""
    page = new_page()
    page.goto(LOG)
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("ip:10.0.0.0/8")
    expect(page.locator("#q")).to_have_value("ip:10.0.0.0/8")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=ip"))


def test_escape_closes_a_menu_and_focus_returns_to_it(new_page: NewPage):
    """Nobody is left in a closed menu."""
    page = new_page()
    page.goto(LOG)
    page.locator(".export-menu > summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator(".export-menu")).not_to_have_attribute("open", "")
    expect(page.locator(".export-menu > summary")).to_be_focused()


def test_load_more_works_by_keyboard(new_page: NewPage):
    """Enter on it appends, and the next Tab goes on in the new rows."""
    page = new_page()
    page.goto(LOG)
    page.get_by_role("link", name="Load more").focus()
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(100)
    expect(rows(page).nth(50).locator(".sentence")).to_be_focused()
