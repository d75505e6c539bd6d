"""A machine whose clock leapt 400 days ahead, as an admin meets it: told on every page, asked once, and retention goes on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DESKTOP, PHONE, check_accessible, keep, sign_in
from tests.crash.wall_clock import WallClock
from tests.server import ServerProcess

_ADMIN = ("ada@example.com", "an admin with a wrong clock 5")
_QUESTION = "Is the server’s clock right?"


@pytest.fixture
def ahead(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose clock leapt after retention had looked."""
    clock = WallClock(tmp_path)
    with ServerProcess(tmp_path / "data", **clock.environment) as server:
        server.command(
            "createuser", _ADMIN[0], "--role", "admin", "--name", "Ada", "--password-stdin", stdin=_ADMIN[1] + "\n"
        )
        server.wait_for_search()
        server.run_tasks("retention")
        clock.jump_to(timedelta(days=400))
        yield server


def test_an_admin_is_told_and_confirms(ahead: ServerProcess, browser: Browser) -> None:
    """From the banner to the question with both times, in both themes and on a phone; the answer ends it everywhere."""
    with browser.new_context(base_url=ahead.url, viewport=DESKTOP) as context:
        page = context.new_page()
        page.goto("/accounts/login/?next=/profile/")
        sign_in(page, _ADMIN)
        page.get_by_role("status").filter(has_text=_QUESTION).get_by_role("link").click()
        expect(page.get_by_role("heading", name=_QUESTION)).to_be_visible()
        _look(page)
        page.get_by_role("button", name="The clock is right").click()
        expect(page.get_by_text("Confirmed.")).to_be_visible()
        expect(page.get_by_text(_QUESTION)).to_have_count(0)
        ahead.run_tasks("retention")
        page.goto("/insights/audit-logs/")
        expect(page.get_by_text("confirmed the server’s clock").first).to_be_visible()


def _look(page: Page) -> None:
    for viewport, name in ((PHONE, "phone"), (DESKTOP, "desktop")):
        page.set_viewport_size(viewport)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            keep(page, f"wrong-clock-{name}-{scheme}")
            check_accessible(page)
