"""Where things stand, at the widths between a phone and a desktop too: nothing is cut off, empty or out of reach."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import DESKTOP, PHONE, NewPage, Site, check_accessible, keep
from tests.browser.test_log import LOG, rows

_ON_PURPOSE = "Failed to load resource: the server responded with a status of 40"
_AGENT = (
    "acme-internal-deployment-orchestrator-of-everything/14.2.9 (cluster=eu-central-1a; build=8f9a3c; owner=platform)"
)


def _box(place: Locator) -> dict[str, float]:
    box = place.bounding_box()
    assert box is not None
    return {"left": box["x"], "right": box["x"] + box["width"], **box}


def _is_inside(inner: Locator, outer: Locator) -> bool:
    return _box(outer)["left"] <= _box(inner)["left"] and _box(inner)["right"] <= _box(outer)["right"]


@pytest.mark.parametrize("width", [720, 900, 1000, 1001, 1440])
def test_the_table_of_events_fills_its_frame(new_page: NewPage, width: int):
    """Whichever columns are shown: the last one ends where the frame does."""
    page = new_page(viewport={"width": width, "height": 800})
    page.goto(LOG)
    last = page.locator(".log-table th:visible").last
    assert _box(page.locator("#events"))["right"] - _box(last)["right"] <= 2
    assert _box(page.locator(".more td"))["width"] == pytest.approx(_box(page.locator("#events"))["width"], abs=3)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_fields_of_a_range_are_inside_their_panel(new_page: NewPage, viewport: dict[str, int]):
    """Dates, times with seconds and the zone; none of them is cut off either."""
    page = new_page(viewport=viewport)
    page.goto(f"{LOG}?from=2026-11-20T08:00:01&to=2026-11-22T09:00:01")
    page.locator(".range-menu > summary").click()
    panel = page.locator(".range-form")
    fields = panel.locator("input:visible, select:visible")
    expect(fields).to_have_count(5)
    for field in fields.all():
        assert _is_inside(field, panel)
        assert field.evaluate("field => field.scrollWidth <= field.clientWidth")


def _chosen(page: Page) -> list[str]:
    return page.locator(".range-row nav [aria-current]").all_text_contents()


def test_no_preset_is_chosen_in_place_of_a_range_that_was_refused(new_page: NewPage):
    """What was typed stays in the form, to be put right."""
    page = new_page(allow=_ON_PURPOSE)
    page.goto(f"{LOG}?from=2026-11-22&from_time=10:00&to=2026-11-20")
    assert _chosen(page) == []
    page.locator(".range-menu > summary").click()
    expect(page.get_by_label("From date")).to_have_value("2026-11-22")
    expect(page.get_by_label("From time")).to_have_value("10:00")
    expect(page.get_by_label("To date")).to_have_value("2026-11-20")
    page.goto(f"{LOG}?range=9y")
    assert _chosen(page) == []
    page.goto(f"{LOG}?q=actr:alice&range=30d")
    assert _chosen(page) == ["30 d"]


def test_a_long_user_agent_takes_two_lines(new_page: NewPage, site: Site):
    """One that no parser knows is as long as its program wishes; all of it is told on hover and on the event's page."""
    event = {"action": "agent.seen", "actor": {"type": "user", "id": "usr_agent"}, "context": {"user_agent": _AGENT}}
    key = site.server.api_key("events:write", source="agents")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    assert site.server.request("POST", "/api/v1/events", json.dumps(event).encode(), headers)[0] == 201
    site.server.wait_for_search()
    page = new_page()
    page.goto(f"{LOG}?q=action:agent.seen")
    agent = rows(page).first.locator(".c-agent > span")
    assert (
        agent.evaluate("agent => agent.getBoundingClientRect().height / parseFloat(getComputedStyle(agent).lineHeight)")
        <= 2.1
    )
    expect(agent).to_have_attribute("title", _AGENT)


@pytest.mark.parametrize("width", [360, 800, 1200, 1301, 1440])
def test_an_export_can_be_fetched_from_the_list_on_any_screen(new_page: NewPage, site: Site, width: int):
    """Its state and its file are in sight, and its filter can be read."""
    page = new_page(viewport={"width": width, "height": 800})
    page.goto("/insights/exports/")
    if not page.locator(".as-cards tbody tr").count():
        site.server.command(
            "export", "action:login.failure outcome:failure -actor:nobody", "-o", str(site.server.data_dir / "list.csv")
        )
        page.reload()
    card = page.locator(".as-cards tbody tr").first
    for place in (card.locator(".badge"), card.get_by_role("link", name="Download"), card.locator("code").first):
        assert _is_inside(place, page.locator(".table-scroll"))
    assert _box(card.locator("code").first)["height"] < 90
    keep(page, f"exports-{width}")
    check_accessible(page)
