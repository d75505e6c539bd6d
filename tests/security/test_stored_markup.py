"""Stored XSS: every field of every event holds markup and scripts, and a real browser shows all of it as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from opssentinal.web.log.place import TERM_PARAMS
from opssentinal.web.log.window import RANGE_PARAMS
from tests.events.places import Place, places
from tests.security.conftest import full_event, send
from tests.server import ServerProcess
from tests.visitor import Visitor

_PAYLOADS = (
    "<script>window.pwned=1;alert(1)</script><b class=pwned>x</b>",
    "\"><img src=x onerror=alert(1) class=pwned><svg onload=alert(1)>",
    "' onmouseover='alert(1)' autofocus onfocus='alert(1)' class='pwned",
    "</textarea></title></pre></code><iframe srcdoc='<script>alert(1)</script>' class=pwned></iframe>",
    "javascript:alert(1)//",
    "{{ 7|add:35 }}{% now 'Y' %}${alert(1)}<%= 1 %>",
    "<a hx-get=/accounts/logout/ hx-trigger=load class=pwned>x</a><form action=//evil.example class=pwned>",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#x3c;img class=pwned&#x3e;",
    "\u202e<b class=pwned>\u2066\u200b\x1b[31m\r\n<!--",
    "--><style>*{display:none}</style><base href=//evil.example><meta http-equiv=refresh content=0;url=//evil.example>",
)  # fmt: skip

_ADDRESSES = "all => all.map(e => new URL(e.getAttribute('href') ?? e.getAttribute('action'), document.baseURI).href)"


@pytest.fixture(scope="module")
def seqs(server: ServerProcess, key: str) -> list[int]:
    """The hostile events: an action of the catalogue each time and one that is not, so that each way to a sentence is taken."""
    actions = ("hostile.sent", "user.role_changed")
    return send(server, key, *(full_event(text, action) for text in _PAYLOADS for action in actions))


@contextmanager
def watched_page(server: ServerProcess, visitor: Visitor, browser: Browser) -> Iterator[Page]:
    """A page of somebody; a dialog, an error, a request elsewhere or a complaint of the browser's fails the test."""
    context = browser.new_context(base_url=server.url)
    context.add_cookies([{"name": c.name, "value": c.value or "", "url": server.url} for c in visitor.cookies])
    page = context.new_page()
    wrong: list[str] = []
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: wrong.append(f"error {error}"))
    page.on("console", lambda said: wrong.append(said.text) if _is_complaint(said) else None)
    page.on(
        "request", lambda asked: wrong.append(asked.url) if not asked.url.startswith((server.url, "data:")) else None
    )
    yield page
    context.close()
    assert wrong == []


@pytest.fixture
def page(server: ServerProcess, admin: Visitor, browser: Browser) -> Iterator[Page]:
    """A watched page of the admin."""
    with watched_page(server, admin, browser) as page:
        yield page


def _is_complaint(said: ConsoleMessage) -> bool:
    """Whatever the browser objects to, except a request that was answered 4xx, and a date that is none in a field for one."""
    is_expected = "status of 4" in said.text or "does not conform to the required format" in said.text
    return said.type in ("error", "warning") and not is_expected


def check_page(page: Page) -> None:
    """Nothing of a payload has become an element, an attribute or a script."""
    assert (
        page.locator(".pwned, [onerror], [onload], [onmouseover], [onfocus], base, iframe, script:not([src])").count()
        == 0
    )
    assert page.evaluate("window.pwned") is None
    links = page.eval_on_selector_all("a[href], form[action]", _ADDRESSES)
    assert [link for link in links if not re.match(r"https?://(127\.0\.0\.1|localhost)[:/]", link)] == []
    text = page.inner_text("body")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", text), (
        "a character that turns the reading direction is shown raw"
    )


def test_the_log_and_its_filters(page: Page, seqs: list[int], server: ServerProcess) -> None:
    """The table, the rail, the histogram and the chips, also where the address itself carries the payload."""
    server.wait_for_search()
    page.goto("/insights/audit-logs/?range=all")
    check_page(page)
    assert "<script>window.pwned" in page.inner_text("body")
    for text in _PAYLOADS:
        for query in (
            {"q": text},
            {"range": "all", "actor": text, "-target": text, "tenant": text, text: text},
            {"cursor": text},
        ):
            page.goto("/insights/audit-logs/?" + urlencode(query))
            check_page(page)
    for name in sorted({*TERM_PARAMS, *RANGE_PARAMS, "tz", "cursor", "before_seq"}):
        page.goto("/insights/audit-logs/?" + urlencode({name: _PAYLOADS[1]}))
        check_page(page)


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("/insights/incidents/", ("status", "severity", "q", "before", "after")),
        ("/insights/incidents/new/", ("event",)),
        ("/settings/users/", ("q", "role", "state", "page")),
        ("/accounts/login/", ("next", "login")),
    ],
)
def test_parameters_of_other_pages(page: Page, address: str, names: tuple[str, ...]) -> None:
    """What an address carries stands on the page as text, or not at all."""
    for text in (_PAYLOADS[1], _PAYLOADS[2], _PAYLOADS[8]):
        page.goto(f"{address}?{urlencode(dict.fromkeys(names, text))}")
        check_page(page)


def test_the_hostile_event_leaves_no_field_out() -> None:
    """What these tests send has a text in each field that the model has, but for those which take none or are not sent."""
    event = full_event("text")
    values = re.compile(r"\$\.(metadata|changes\[0\]\.(before|after))[.\[]")
    absent = {place.path for place in places() if not values.match(place.path) and not _has_text(place, event)}
    assert absent == {"$.id", "$.outcome", "$.occurred_at", "$.source", "$.context.api_key"}


def _has_text(place: Place, event: dict[str, object]) -> bool:
    try:
        return bool(place.text(event))
    except KeyError:
        return False


def test_each_event(page: Page, seqs: list[int]) -> None:
    """The page of one event shows every field of it, as it was sent."""
    for seq in seqs:
        page.goto(f"/insights/audit-logs/{seq}/")
        check_page(page)


@pytest.mark.parametrize("address", ["/insights/event-types/", "/insights/exports/", "/insights/incidents/"])
def test_other_pages_with_event_text(page: Page, seqs: list[int], address: str) -> None:
    """Pages that count or list what events say."""
    page.goto(address)
    check_page(page)
