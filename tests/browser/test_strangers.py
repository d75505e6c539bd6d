"""Events that others send: hostile text stays text, and one id from two programs is two events."""

from __future__ import annotations

import json
import uuid
from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import NewPage, Site, check_accessible, keep
from tests.browser.test_log import LOG, rows

HOSTILE = '"><script>document.title="owned"</script><img src=x onerror=alert(1)>\u202egpj.exe\x1b[31m{{ 7|add:7 }}'


def _send(site: Site, event: dict[str, Any], source: str) -> int:
    """Post an event as the program `source` and return its seq."""
    key = site.server.api_key("events:write", source=source)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    status, body = site.server.request("POST", "/api/v1/events", json.dumps(event).encode(), headers)
    assert status == 201, body
    (item,) = json.loads(body)["results"]
    return int(item["seq"])


def test_an_attackers_text_stays_text(new_page: NewPage, site: Site):
    """In the table, the rail, the chips, the event's page and its title: shown, spelled out, never run."""
    party = {"type": "user", "id": HOSTILE, "name": HOSTILE}
    seq = _send(
        site,
        {
            "action": "stranger.came",
            "actor": party,
            "targets": [party],
            "message": HOSTILE,
            "context": {"user_agent": HOSTILE, "session_id": HOSTILE},
            "changes": [{"field": HOSTILE, "before": HOSTILE, "after": [HOSTILE]}],
            "metadata": {HOSTILE: HOSTILE},
        },
        "strangers",
    )
    page = new_page()
    page.goto(f"{LOG}?q=action:stranger.came")
    expect(rows(page)).to_have_count(1)
    expect(rows(page).first.locator(".sentence")).to_contain_text("<script>document.title")
    expect(rows(page).first.locator(".sentence")).to_contain_text("\\u202egpj.exe\\x1b[31m{{ 7|add:7 }}")
    rows(page).first.locator(".c-actor a").click()
    expect(page.locator(".chip").first).to_contain_text("<script>")
    check_accessible(page)
    page.goto(f"{LOG}{seq}/")
    assert page.title().startswith('"><script>')
    expect(page.locator("#raw")).to_contain_text("\\u202e")
    keep(page, "hostile-event")
    check_accessible(page)
    assert "\u202e" not in page.content()
    assert "\x1b" not in page.content()


def test_one_id_of_two_programs_leads_to_both_events(new_page: NewPage, site: Site):
    """Ids are unique per source only; who follows an id sees every event that has it."""
    id_ = str(uuid.uuid4())
    event = {"id": id_, "action": "twin.born", "outcome": "denied", "actor": {"type": "user", "id": "usr_1"}}
    first, second = (_send(site, event, source) for source in ("twin-a", "twin-b"))
    page = new_page()
    page.goto(f"{LOG}{id_}/")
    expect(page.locator(".log-table tbody tr")).to_have_count(2)
    check_accessible(page)
    page.locator("a.sentence").first.click()
    assert page.url.endswith((f"/{first}/", f"/{second}/"))


def test_an_event_that_is_not_there_is_said_so(new_page: NewPage):
    """Beyond the log's end, a number no database has, an id nobody sent: 404 and never a fault."""
    page = new_page(allow="Failed to load resource: the server responded with a status of 404")
    for place in ("999999999", "9" * 30, str(uuid.uuid4())):
        response = page.goto(f"{LOG}{place}/")
        assert response is not None and response.status == 404
        expect(page.get_by_role("heading", level=1)).to_have_text("No such event")
        check_accessible(page)
