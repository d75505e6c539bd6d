"""Events dated thousands of years ahead: each range still shows what it holds, and every link of the page leads somewhere."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone

from opssentinal.workspace.models import User
from tests.access.conftest import LOG, browser, event_of, put
from tests.exports.conftest import Back, back, ledger

__all__ = ["back", "ledger"]

# The last microsecond that is taken, and one that the log took before it refused such times.
LAST = datetime(9996, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
BEYOND = datetime(9998, 6, 1, tzinfo=UTC)


@pytest.fixture
def reader(back: Back) -> Client:
    return browser(User.objects.create_user("alice@example.com", name="Alice", role="admin"))


def page(reader: Client, address: str) -> str:
    response = reader.get(address)
    text = html.unescape(response.content.decode())
    assert response.status_code == 200, (address, re.findall(r"<strong>[^<]*</strong>", text))
    return text


def links(text: str) -> list[str]:
    """The addresses of the histogram's bars and of what the page offers to show."""
    figure = "".join(re.findall(r'<svg class="bars".*?</svg>', text, re.DOTALL))
    return re.findall(r'<a href="([^"]+)"', figure) + re.findall(r'<a href="([^"]+)">show', text)


@pytest.mark.parametrize("moment", [LAST, BEYOND, datetime(9999, 12, 29, 23, tzinfo=UTC)])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_every_range_and_every_link_of_it_can_be_opened(reader: Client, moment: datetime, zone: str):
    """Open-ended ranges, all time, what the query bar says, and the bars and notes of each, have the event or speak of it."""
    put(event_of(0, "ahead", occurred_at=moment), event_of(0, "usual", occurred_at=timezone.now()))
    asked = [
        "range=all", "range=7d", "q=after:7d", "from=2026-11-01", f"from={quote(timezone.now().isoformat())}",
        f"from={LAST.year - 1}-01-01", "from=2026-11-01&q=source:ahead", "from=2026-11-01&to=2026-11-02&q=source:ahead",
    ]  # fmt: skip
    for query in asked:
        text = page(reader, f"{LOG}?{query}&tz={zone}")
        assert "ahead" in text or "dated in the future" in text
        for link in links(text):
            page(reader, link)


def test_an_open_range_is_drawn_up_to_now_with_a_note_of_what_is_dated_later(reader: Client):
    """One wrong clock leaves the bars of a range without an end as they are, and its link shows that event alone."""
    put(*(event_of(0, "usual", occurred_at=timezone.now() - timedelta(hours=hours)) for hours in (1, 30, 60)))
    address = f"{LOG}?q=after:4d source:usual source:ahead"
    before = page(reader, address)
    assert "dated in the future" not in before
    put(event_of(0, "ahead", occurred_at=datetime(2099, 5, 6, tzinfo=UTC)))
    after = page(reader, address)
    drawn = [re.findall(r"· ([\w ]+) per bar", text) for text in (before, after)]
    assert drawn[0] == drawn[1] != []
    [note] = re.findall(r"1 matching event is dated in the future — <a href=\"([^\"]+)\">show", after)
    shown = page(reader, note)
    assert re.findall(r'class="num">(\d+)</strong> event', shown) == ["1"]
    assert "dated in the future" not in shown


def test_a_range_that_cannot_be_wider_offers_no_wider_one(reader: Client):
    """Four times a century around today would begin before the years that a filter can name."""
    assert page(reader, f"{LOG}?from=1950-01-01&to=2030-01-01")
