"""An event whose sender's clock was years ahead: told of, never in the way of the others."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

from tests.browser.conftest import NewPage, Site, check_accessible, keep
from tests.browser.test_log import LOG, rows, total


def test_one_wrong_clock_leaves_the_presets_as_they_are(site: Site, new_page: NewPage):
    """A preset draws the same bars as before and says that there is such an event; all time has it, marked, on top."""
    page = new_page()
    drawn = {}
    for key in ("7d", "all"):
        page.goto(f"{LOG}?range={key}")
        drawn[key] = re.findall(r"· (.+) per bar", str(page.locator(".histogram figcaption").text_content()))
    expect(page.locator(".future-note")).to_have_count(0)

    wrong = {
        "action": "door.opened",
        "actor": {"type": "user", "id": "usr_ahead"},
        "occurred_at": "2099-05-06T07:08:09Z",
    }
    headers = {"Authorization": f"Bearer {site.server.api_key('events:write', source='doors')}"}
    headers["Content-Type"] = "application/json"
    status, body = site.server.request("POST", "/api/v1/events", json.dumps(wrong).encode(), headers)
    assert status == 201, body

    for key, first in (("all", True), ("7d", False)):
        page.goto(f"{LOG}?range={key}")
        expect(page.locator(".future-note")).to_have_text("1 event is dated in the future — show")
        assert re.findall(r"· (.+) per bar", str(page.locator(".histogram figcaption").text_content())) == drawn[key]
        assert rows(page).first.locator("time[datetime^='2099']").count() == first
        check_accessible(page)
        keep(page, f"wrong-clock-{key}")
    page.goto(f"{LOG}?q=actor:usr_ahead")
    expect(page.locator(".future-note")).to_have_text("1 matching event is dated in the future — show")
    expect(page.get_by_role("heading", name="Nothing in the last 7 days")).to_be_visible()
    page.locator(".future-note").get_by_role("link", name="show").click()
    assert total(page) == 1
    expect(rows(page)).to_have_count(1)
    expect(rows(page).get_by_text("Future time")).to_be_visible()
    rows(page).locator("a.sentence").click()
    expect(page.locator(".event-badges").get_by_text("Future time")).to_be_visible()
    check_accessible(page)
