"""Time ranges: presets, forms and the words that say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.errors import InvalidQuery
from opssentinal.query import zone_named, zone_names
from opssentinal.web.log.window import (
    PRESETS,
    Window,
    form_values,
    preset_window,
    range_words,
    read_window,
)  # fmt: skip
from tests.query.strategies import zones

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))


def _as_form_sends(window: Window, zone) -> dict[str, str]:
    fields = form_values(window, zone)
    return {
        "from": fields.from_day, "from_time": fields.from_time, "from_exact": fields.from_exact,
        "to": fields.to_day, "to_time": fields.to_time, "to_exact": fields.to_exact,
    }  # fmt: skip


@given(moments, st.timedeltas(timedelta(microseconds=1), timedelta(days=900)), zones)
def test_the_form_shows_a_range_that_it_would_send_again(start, length, zone):
    """Opening the range form and pressing Apply changes nothing, to the microsecond, in whatever zone."""
    window = Window("", start, start + length)
    assert read_window(_as_form_sends(window, zone), zone, NOW) == window


def test_the_second_of_an_hour_that_comes_twice_stays_the_second():
    """On the day the clocks go back, 02:30 after the change is not 02:30 before it."""
    zone = zone_named("Europe/Berlin")
    window = Window("", datetime(2026, 10, 25, 1, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 45, tzinfo=UTC))
    sent = _as_form_sends(window, zone)
    assert (sent["from_time"], sent["to_time"]) == ("02:30:00", "02:45:00")
    assert read_window(sent, zone, NOW) == window
    assert read_window(sent | {"from_time": "02:30"}, zone, NOW) == window  # as some browsers write it


def test_what_people_change_in_the_form_counts():
    """A field that differs from what the form showed is read as it stands, and so is every field in another zone."""
    berlin = zone_named("Europe/Berlin")
    window = Window("", datetime(2026, 11, 20, 8, 0, 0, 5, tzinfo=UTC), datetime(2026, 11, 20, 9, tzinfo=UTC))
    sent = _as_form_sends(window, berlin)
    changed = read_window(sent | {"from_time": "08:15:00"}, berlin, NOW)
    assert changed == Window("", datetime(2026, 11, 20, 7, 15, tzinfo=UTC), window.before)
    moved = read_window(sent, zone_named("UTC"), NOW)
    assert moved.after == datetime(2026, 11, 20, 9, tzinfo=UTC)


def test_a_bare_date_includes_its_whole_day_in_the_zone():
    """from and to of the same date are that day, as the zone has it."""
    zone = zone_named("Europe/Berlin")
    window = read_window({"from": "2026-11-20", "to": "2026-11-20"}, zone, NOW)
    assert window == Window("", datetime(2026, 11, 19, 23, tzinfo=UTC), datetime(2026, 11, 20, 23, tzinfo=UTC))
    assert window.words(zone) == "20 Nov 2026"
    assert window.phrase(zone) == "on 20 Nov 2026"


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_goes_back_from_now_and_ends_there(preset):
    """An event of a clock that runs a little ahead is in every preset; one dated years ahead in none but all time."""
    window = preset_window(preset.key, NOW)
    assert window.before == (NOW + timedelta(minutes=5) if preset.span else None)
    assert window.after == (NOW - preset.span if preset.span else None)


def test_a_range_of_its_own_wins_over_a_preset():
    """The form sends the present preset along, so that choosing a zone alone keeps it."""
    zone = zone_named("UTC")
    assert read_window({"range": "30d", "from": "", "to": ""}, zone, NOW).preset == "30d"
    assert read_window({"range": "30d", "from": "2026-01-01"}, zone, NOW).preset == ""


@pytest.mark.parametrize(
    "params",
    [
        {"range": "5y"}, {"from": "soon"}, {"to": "2026-13-01"},
        {"range": "7d", "from_time": "08:00"}, {"from": "2026-01-01", "to_time": "09:00"},
    ],
)  # fmt: skip
def test_a_range_that_is_none_is_refused_with_a_hint(params):
    """Nothing is guessed about a time range."""
    with pytest.raises(InvalidQuery) as refused:
        read_window(params, zone_named("UTC"), NOW)
    assert refused.value.hint


def test_zooming_out_keeps_the_middle():
    """Four times as long, around the same moment."""
    window = Window("", NOW, NOW + timedelta(hours=2))
    wider = window.wider()
    assert wider is not None
    assert wider.before - wider.after == timedelta(hours=8)
    assert wider.after + timedelta(hours=4) == NOW + timedelta(hours=1)
    assert preset_window("7d", NOW).wider() is None


def test_ranges_are_said_as_people_say_them():
    """Whole days without clocks, one day once, open ends as such."""
    zone = zone_named("UTC")
    day = datetime(2023, 7, 10, tzinfo=UTC)
    assert range_words(day, day + timedelta(days=1), zone) == "10 Jul 2023"
    assert range_words(day, day + timedelta(days=3), zone) == "10 Jul 2023 – 12 Jul 2023"
    assert (
        range_words(day + timedelta(hours=9), day + timedelta(hours=10, minutes=30), zone)
        == "10 Jul 2023 09:00 – 10:30"
    )
    assert range_words(day, None, zone) == "since 10 Jul 2023"
    assert range_words(None, day, zone) == "before 10 Jul 2023"
    assert range_words(None, None, zone) == "all time"


def test_every_zone_on_offer_is_one():
    """The list holds nothing that choosing it would refuse."""
    assert "Europe/Berlin" in zone_names()
    for name in zone_names():
        assert zone_named(name).key == name
    with pytest.raises(InvalidQuery):
        zone_named("Mars/Olympus")
    with pytest.raises(InvalidQuery):
        zone_named("../../etc/passwd")
