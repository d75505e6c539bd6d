"""Audit Logs as an admin uses it: find, narrow, look closer, take along."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import NewPage, check_accessible, keep

LOG = "/insights/audit-logs/"


def rows(page: Page) -> Locator:
    """The events of the table."""
    return page.locator(".log-table tbody:not(.more) tr")


def number(text: str | None) -> int:
    """A number as the page writes it."""
    return int(re.sub(r"\D", "", text or ""))


def total(page: Page) -> int:
    """How many events the page says its search has."""
    return number(page.locator(".histogram figcaption > strong").text_content())


def settled_days() -> str:
    """A range as the address has it, of whole days that nothing enters or leaves while a test counts."""
    today = datetime.now(UTC).date()
    return f"from={today - timedelta(days=5)}&to={today - timedelta(days=2)}"


def query_of(page: Page) -> dict[str, list[str]]:
    """The parameters of the present address."""
    return parse_qs(urlsplit(page.url).query)


def test_the_first_look_shows_the_last_seven_days_newest_first(new_page: NewPage):
    """The columns people know, a page of events in order, and the preset that is in force."""
    page = new_page()
    page.goto("/")
    expect(page).to_have_url(re.compile(re.escape(LOG) + "$"))
    expect(page.locator(".log-table th")).to_have_text(
        ["Timestamp", "Actor", "Action", "Target", "IP Address", "User Agent"]
    )
    expect(rows(page)).to_have_count(50)
    expect(page.locator('.segmented a[aria-current="true"]')).to_have_text("7 d")
    times = [each.get_attribute("datetime") for each in page.locator(".log-table time").all()]
    assert times == sorted(times, reverse=True)
    assert len(page.locator(".bars a").all()) > 20


def test_a_click_in_the_rail_includes_and_another_takes_it_back(new_page: NewPage):
    """The count of the rail is the number of events one then sees; chip, bar and address say the same."""
    page = new_page()
    page.goto(f"{LOG}?{settled_days()}")
    everything = total(page)
    value = page.locator(".facet-row", has_text="Sign-in failed")
    promised = number(value.locator(".facet-count").text_content())
    value.locator(".facet-value").click()
    assert total(page) == promised
    assert query_of(page)["q"] == ["action:login.failure"]
    expect(page.locator("#q")).to_have_value("action:login.failure")
    expect(page.locator(".chip")).to_have_text(re.compile(r"action\s*login\.failure"))
    expect(page.locator(".is-included")).to_contain_text("Sign-in failed")
    for text in rows(page).locator("code").all_text_contents():
        assert text == "login.failure"
    page.locator(".is-included .facet-value").click()
    assert total(page) == everything


def test_excluding_and_including_add_up(new_page: NewPage):
    """What an exclusion leaves and what it leaves out are all there is."""
    page = new_page()
    page.goto(f"{LOG}?{settled_days()}")
    everything = total(page)
    value = page.locator(".facet-row", has_text="Incident viewed")
    count = number(value.locator(".facet-count").text_content())
    value.hover()
    value.get_by_role("link", name="Exclude Incident viewed").click()
    assert query_of(page)["q"] == ["-action:incident.viewed"]
    assert total(page) == everything - count
    page.get_by_role("link", name="Clear all").click()
    assert total(page) == everything


def test_the_query_bar_and_the_chips_are_one(new_page: NewPage):
    """Typing makes chips; a chip's cross takes its term out of the bar; a typed time moves into the range."""
    page = new_page()
    page.goto(LOG)
    page.locator("#q").fill("outcome:failure,denied -action:logout after:8d")
    page.locator("#q").press("Enter")
    expect(page.locator(".chip")).to_have_count(3)
    expect(page.locator("#q")).to_have_value("-action:logout outcome:denied,failure")
    expect(page.locator(".range-menu > summary")).to_contain_text("since ")
    page.get_by_role("link", name="Remove not action logout").click()
    assert "from" in query_of(page)
    expect(page.locator("#q")).to_have_value("outcome:denied,failure")
    expect(page.locator(".log-table .is-success")).to_have_count(0)


def test_failures_are_told_by_word_and_icon(new_page: NewPage):
    """Not by colour alone: every failed or denied row has its word and its icon."""
    page = new_page()
    page.goto(f"{LOG}?q=outcome:failure,denied")
    assert rows(page).count() > 3
    for row in rows(page).all():
        badge = row.locator(".badge.failure, .badge.denied")
        expect(badge.locator("svg")).to_have_count(1)
        assert badge.text_content() in ("Failure", "Denied")


def test_a_mistake_is_explained_at_the_bar_and_the_text_stays(new_page: NewPage):
    """The place and a suggestion; nothing is searched for meanwhile."""
    page = new_page(allow="Failed to load resource: the server responded with a status of 400")
    page.goto(LOG)
    page.locator("#q").fill("actr:alice")
    page.locator("#q").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Did you mean actor?")
    expect(page.locator("#q")).to_have_value("actr:alice")
    expect(page.locator("#q")).to_have_attribute("aria-invalid", "true")
    expect(rows(page)).to_have_count(0)


def test_a_bar_zooms_in_and_out_again(new_page: NewPage):
    """The range becomes that of the bar, with as many events as it promised; zooming out and back work."""
    page = new_page()
    page.goto(f"{LOG}?{settled_days()}")
    everything = total(page)
    bar = page.locator(".bars a").nth(20)
    promised = sum(
        int(n.replace(",", ""))
        for n in re.findall(r"([\d,]+) (?:success|failure|denied|unknown)", str(bar.get_attribute("aria-label")))
    )
    bar.click()
    expect(page.get_by_role("link", name="Zoom out")).to_be_visible()
    assert total(page) == promised
    assert set(query_of(page)) == {"from", "to"}
    page.get_by_role("link", name="Zoom out").click()
    assert total(page) > promised
    page.go_back()
    page.go_back()
    assert total(page) == everything


def test_a_custom_range_and_zone_are_kept_in_the_address(new_page: NewPage):
    """Choosing a zone alone keeps the preset; dates are days of the chosen zone; clocks change, instants do not."""
    page = new_page()
    page.goto(LOG)
    first = page.locator(".log-table time").first
    instant, clock = first.get_attribute("datetime"), first.text_content()
    page.locator(".range-menu > summary").click()
    page.get_by_label("Time zone").select_option("Asia/Kathmandu")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("tz="))
    assert query_of(page) == {"tz": ["Asia/Kathmandu"], "range": ["7d"]}
    expect(page.locator('.segmented a[aria-current="true"]')).to_have_text("7 d")
    assert page.locator(".log-table time").first.get_attribute("datetime") == instant
    assert page.locator(".log-table time").first.text_content() != clock
    day = str(page.locator(".log-table time > span").first.text_content())
    page.locator(".range-menu > summary").click()
    page.get_by_label("From date").fill(day)
    page.get_by_label("To date").fill(day)
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("from="))
    expect(page.locator(".log-table time").first).to_be_visible()
    days = set(page.locator(".log-table time > span:first-child").all_text_contents())
    assert days == {day}
    expect(page.locator(".range-menu > summary")).to_contain_text("Asia/Kathmandu")


def test_load_more_appends_and_keeps_the_keyboards_place(new_page: NewPage):
    """A hundred rows in order, none twice, and focus on the first new one."""
    page = new_page()
    page.goto(LOG)
    page.get_by_role("link", name="Load more").click()
    expect(rows(page)).to_have_count(100)
    links = [each.get_attribute("href") for each in page.locator("a.sentence").all()]
    assert len(set(links)) == 100
    times = [each.get_attribute("datetime") for each in page.locator(".log-table time").all()]
    assert times == sorted(times, reverse=True)
    focused = page.evaluate("document.activeElement.getAttribute('href')")
    assert focused == links[50]
    check_accessible(page)


def test_an_event_has_its_own_page_with_everything(new_page: NewPage):
    """A click anywhere on the row; sentence, before and after, raw JSON that can be copied, and neighbours of the filter."""
    page = new_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{LOG}?q=action:user.role_changed&range=30d")
    sentence = rows(page).first.locator(".sentence").text_content()
    rows(page).first.locator(".c-time").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(str(sentence))
    expect(page.locator(".changes tbody tr")).to_have_count(1)
    keep(page, "event-with-changes")
    event = json.loads(str(page.locator("#raw").text_content()))
    assert event["action"] == "user.role_changed"
    page.locator("[data-copy='#raw']").click()
    expect(page.locator("[data-copy='#raw']")).to_have_text("Copied")
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == event
    page.goto(f"{LOG}{event['id']}/")
    expect(page).to_have_url(re.compile(rf"/{event['seq']}/$"))
    assert json.loads(str(page.locator("#raw").text_content())) == event


def test_neighbours_stay_in_the_filter(new_page: NewPage):
    """Older and newer walk through the search that one came from, and lead back to it."""
    page = new_page()
    page.goto(f"{LOG}?q=outcome:failure&range=30d")
    hrefs = [str(each.get_attribute("href")) for each in page.locator("a.sentence").all()[:3]]
    page.goto(hrefs[0])
    page.get_by_role("link", name="Older").click()
    assert page.url.endswith(hrefs[1])
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Newer").click()
    assert page.url.endswith(hrefs[1])
    page.locator(".event-nav").get_by_role("link", name="Audit Logs").click()
    assert query_of(page) == {"q": ["outcome:failure"], "range": ["30d"]}


def test_a_value_of_an_event_leads_to_all_events_with_it(new_page: NewPage):
    """From an event to everything of its address."""
    page = new_page()
    page.goto(f"{LOG}?q=action:login.success")
    rows(page).first.locator(".sentence").click()
    address = page.get_by_title("Only this ip address")
    ip = str(address.text_content())
    address.click()
    expect(page.locator("#q")).to_have_value(f"ip:{ip}")
    assert {text for text in rows(page).locator(".c-ip").all_text_contents()} == {ip}


def test_an_empty_range_never_looks_like_an_empty_log(new_page: NewPage):
    """It says how many there are and when, and the link shows them."""
    page = new_page()
    page.goto(f"{LOG}?q=-action:audit_log.viewed&from=2001-01-01&to=2001-01-31")  # which looking itself adds
    expect(page.get_by_role("heading", name="Nothing from 1 Jan 2001 to 31 Jan 2001")).to_be_visible()
    count = number(re.search(r"([\d,]+) (?:matching )?events", str(page.locator(".empty p").text_content())).group(1))  # type: ignore[union-attr]
    page.get_by_role("link", name="show").click()
    assert total(page) == count


def test_the_end_of_a_range_says_what_lies_before_it(new_page: NewPage):
    """Three events of today must not hide thousands of last week."""
    page = new_page()
    page.goto(f"{LOG}?q=action:settings.updated&range=all")
    everything = total(page)
    page.goto(f"{LOG}?q=action:settings.updated&range=30d")
    assert total(page) == everything
    times = [str(each.get_attribute("datetime")) for each in page.locator(".log-table time").all()]
    page.goto(f"{LOG}?q=action:settings.updated&from={times[0]}")
    inside = rows(page).count()
    end = page.locator(".more")
    expect(end).to_contain_text(f"{everything - inside} matching before that")
    end.get_by_role("link", name="show").click()
    assert total(page) >= everything - inside


def test_a_search_without_any_event_says_so(new_page: NewPage):
    """And offers the way out."""
    page = new_page()
    page.goto(f"{LOG}?q=actor:nobody-at-all")
    expect(page.get_by_role("heading", name="No event matches")).to_be_visible()
    page.get_by_role("link", name="clear them all").click()
    expect(rows(page)).to_have_count(50)


def test_an_export_takes_what_is_on_the_screen(new_page: NewPage):
    """The file has as many rows as the page says, and the export is in the log."""
    page = new_page()
    page.goto(f"{LOG}?q=outcome:failure&{settled_days()}")
    count = total(page)
    page.locator(".export-menu > summary").click()
    page.get_by_label("JSON Lines").check()
    with page.expect_download() as download:
        page.locator(".export-form").get_by_role("button", name="Export").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == count
    assert {json.loads(line)["outcome"] for line in lines} == {"failure"}
    page.goto(f"{LOG}?q=action:export.downloaded&range=15m")
    assert rows(page).count() >= 1


def test_the_catalogue_knows_what_was_seen(new_page: NewPage):
    """Four groups, examples, and counts that lead to the events."""
    page = new_page()
    page.goto("/insights/event-types/")
    expect(page.locator(".type-group h2").first).to_have_text("Authentication")
    kind = page.locator(".type", has_text="login.failure").first
    count = number(kind.locator(".type-count").text_content())
    kind.locator("summary").click()
    assert json.loads(str(kind.locator("pre").text_content()))["action"] == "login.failure"
    kind.get_by_role("link").click()
    assert total(page) == count
