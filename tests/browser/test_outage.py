"""When search is gone the log is still there, and the page heals by itself."""

from __future__ import annotations

import os
import signal
import time
from itertools import count

from playwright.sync_api import expect

from tests.browser.conftest import NewPage, Site, check_accessible, keep
from tests.browser.test_log import LOG, rows


def _kill_the_back(site: Site) -> None:
    """Kill it as often as it comes back, until its supervisor pauses for seconds."""
    for _ in range(4):
        for pause in count():
            if children := site.server.children():
                break
            assert pause < 600, "the back process does not come back"
            time.sleep(0.05)
        for child in children:
            os.kill(child, signal.SIGKILL)
        while site.server.children():
            time.sleep(0.02)


def test_without_search_the_newest_events_come_from_the_ledger_until_it_is_back(new_page: NewPage, site: Site):
    """A banner, events, paging, the event's page; and without any doing of the reader, search again."""
    page = new_page()
    page.goto(LOG)
    expected = rows(page).count()
    _kill_the_back(site)
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("Search")
    expect(rows(page)).to_have_count(50)
    keep(page, "search-down")
    check_accessible(page)
    expect(page.locator(".histogram")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(rows(page)).to_have_count(expected)
