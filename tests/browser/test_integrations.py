"""An admin connects a webhook in the browser and watches it receive the log."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, NewPage, Site, check_accessible, keep

Statuses = list[int]
_MISTAKE = "Failed to load resource: the server responded with a status of 400"


@pytest.fixture
def hook() -> Iterator[tuple[str, Statuses]]:
    """A receiver: its address, and the statuses it answers next (204 when there are none)."""
    statuses: Statuses = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status = statuses.pop(0) if statuses else 200
            self.send_response(status)
            self.send_header("Content-Length", "11")
            self.end_headers()
            self.wfile.write(b"thanks, all")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", statuses
    server.shutdown()
    server.server_close()


def _look(page: Page, name: str) -> None:
    """Both themes, desktop and phone: accessible, and nothing wider than the screen."""
    for viewport, size in (("desktop", DESKTOP), ("phone", PHONE)):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            keep(page, f"{name}-{viewport}-{scheme}")
            check_accessible(page)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "without-scripts"])
def test_an_admin_connects_a_webhook(new_page: NewPage, site: Site, hook: tuple[str, Statuses], scripts: bool) -> None:
    """Create, see the secret once, test, see the delivery, see the log arrive, pause when it is gone, resume, delete."""
    url, statuses = hook
    page = new_page(scripts=scripts, allow=_MISTAKE)
    see = _look if scripts else (lambda *_: None)
    page.goto("/settings/integrations/")
    page.get_by_role("link", name="New webhook").click()
    page.get_by_label("Name").fill("SIEM")
    page.get_by_label("URL").fill(url)
    page.get_by_label("Events (optional)").fill("actr:alice")
    page.get_by_role("button", name="Create webhook").click()
    expect(page.locator(".field-error")).to_contain_text("Did you mean actor?")
    see(page, "integration-mistake")
    page.get_by_label("Events (optional)").fill("action:integration.*")
    page.get_by_role("button", name="Create webhook").click()
    expect(page.locator("#secret")).to_have_text(re.compile(r"^whsec_[\w+/=]{44}$"))
    see(page, "integration-secret")

    page.get_by_role("link", name="Go on and test it").click()
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_role("status")).to_contain_text("The test arrived: 200 OK")
    expect(page.get_by_role("main")).to_contain_text("thanks, all")
    see(page, "integration-test")
    page.get_by_role("link", name="SIEM").click()

    def delivered() -> None:
        """Its own creation and test come as events, within a second or two."""
        for _ in range(60):
            page.reload()
            if page.locator("tbody tr", has_text="delivered").count() >= 2:
                return
            page.wait_for_timeout(250)
        raise AssertionError(page.locator("main").inner_text())

    delivered()
    expect(page.get_by_text("Next event")).to_be_visible()
    see(page, "integration")

    statuses += [410, 410]
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_role("alert")).to_contain_text("The test did not arrive: 410 Gone")
    # The test itself is an event too, whose delivery is refused the same way.
    page.get_by_role("link", name="SIEM").click()
    for _ in range(60):
        page.reload()
        if page.get_by_role("button", name="Resume").count():
            break
        page.wait_for_timeout(250)
    expect(page.locator(".banner", has_text="Paused")).to_contain_text("410 Gone")
    see(page, "integration-paused")
    page.goto("/settings/integrations/")
    see(page, "integrations")
    page.get_by_role("link", name="SIEM").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_contain_text("Resumed.")

    for link, heading in (("Edit", "Edit SIEM"), ("Replay", "Replay SIEM"), ("New secret", "New secret for SIEM"), ("Delete", "Delete SIEM?")):  # fmt: skip
        own = page.url
        page.get_by_role("link", name=link, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        see(page, f"integration-{link.lower().replace(' ', '-')}")
        if link != "Delete":
            page.goto(own)
    page.get_by_role("button", name="Delete integration").click()
    expect(page.get_by_role("status")).to_contain_text("SIEM is deleted.")
    page.goto("/insights/audit-logs/?q=action:integration.*")
    expect(page.locator(".log-table tbody").first).to_contain_text("deleted the integration SIEM")
    expect(page.locator(".log-table")).to_contain_text("paused the integration SIEM")
