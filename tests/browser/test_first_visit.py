"""The first minutes of a new user: set up, an almost empty log that says how to fill it, and old events that are not hidden."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import DESKTOP, check_accessible, keep
from tests.server import ServerProcess

_OLD = "2023-07-10T12:{:02d}:00Z"


def test_from_an_empty_directory_to_ones_own_events(browser: Browser, tmp_path_factory: pytest.TempPathFactory):
    """Every page leads to set-up; then the log shows what it recorded of it, how to go on, and what lies before the range."""
    with ServerProcess(tmp_path_factory.mktemp("first") / "data") as server:
        context = browser.new_context(base_url=server.url, viewport=DESKTOP)
        page = context.new_page()
        page.goto("/insights/audit-logs/")
        expect(page).to_have_url(re.compile("/setup"))
        check_accessible(page)
        link = re.search(r"http://\S+/setup\?token=\S+", server.log.read_text())
        assert link is not None, "the console names the address of the set-up"
        page.goto(link[0])
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            keep(page, f"setup-{scheme}")
            check_accessible(page)
        page.get_by_label("Your name").fill("Ada Admin")
        page.get_by_label("E-mail").fill("ada@example.com")
        for label in ("Password", "Password again"):
            page.get_by_label(label, exact=True).fill("nine purple elephants")
        page.get_by_role("button", name="Create admin").click()
        server.wait_for_search()
        page.goto("/insights/audit-logs/")
        expect(page.locator(".log-table")).to_contain_text("created the user Ada Admin")
        expect(page.get_by_role("heading", name="Send your first event")).to_be_visible()
        keep(page, "first-steps")
        check_accessible(page)

        key = server.api_key("events:write", source="billing")
        old = [
            {"action": "invoice.paid", "occurred_at": _OLD.format(at), "actor": {"type": "user", "id": f"usr_{at}"}}
            for at in range(60)
        ]
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        status, answer = server.request("POST", "/api/v1/events", json.dumps(old).encode(), headers)
        assert status == 201, answer
        page.reload()
        end = page.locator(".more")
        expect(end).to_contain_text("60 before that, on 10 Jul 2023")
        end.get_by_role("link", name="show").click()
        expect(page.locator(".histogram figcaption > strong")).to_have_text("60")
        page.goto("/insights/audit-logs/?q=action:invoice.paid")
        expect(page.get_by_role("heading", name="Nothing in the last 7 days")).to_be_visible()
        expect(page.locator(".empty")).to_contain_text("60 matching events on 10 Jul 2023 — show")
        context.close()
