"""Time ranges: presets, forms and the words that say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.errors import InvalidQuery
from opssentinal.query import day_start
from opssentinal.web.log.window import (
    PRESETS,
    Window,
    form_values,
    preset_window,
    range_words,
    read_window,
    read_zone,
    zone_names,
)  # fmt: skip
from tests.query.strategies import zones

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
seconds = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)


def _as_form_sends(window: Window, zone) -> dict[str, str]:
    fields = form_values(window, zone)
    return {"from": fields.from_day, "from_time": fields.from_time, "to": fields.to_day, "to_time": fields.to_time}


@given(seconds, st.timedeltas(timedelta(seconds=1), timedelta(days=900)), zones)
def test_the_form_shows_a_range_that_it_would_send_again(start, length, zone):
    """Opening the range form and pressing Apply changes nothing, except where a clock shows the hour twice."""
    window = Window("", start, start + length.__class__(seconds=int(length.total_seconds())))
    again = read_window(_as_form_sends(window, zone), zone, NOW)
    for sent, read in ((window.after, again.after), (window.before, again.before)):
        local = sent.astimezone(zone)
        if local.fold == 0 and day_start(local.date(), zone).astimezone(zone).hour == 0:
            assert read == sent


def test_a_bare_date_includes_its_whole_day_in_the_zone():
    """from and to of the same date are that day, as the zone has it."""
    zone = read_zone("Europe/Berlin")
    window = read_window({"from": "2026-11-20", "to": "2026-11-20"}, zone, NOW)
    assert window == Window("", datetime(2026, 11, 19, 23, tzinfo=UTC), datetime(2026, 11, 20, 23, tzinfo=UTC))
    assert window.words(zone) == "20 Nov 2026"
    assert window.phrase(zone) == "on 20 Nov 2026"


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_goes_back_from_now_and_stays_open(preset):
    """An event of a clock that runs ahead is in every preset."""
    window = preset_window(preset.key, NOW)
    assert window.before is None
    assert window.after == (NOW - preset.span if preset.span else None)


def test_a_range_of_its_own_wins_over_a_preset():
    """The form sends the present preset along, so that choosing a zone alone keeps it."""
    zone = read_zone("UTC")
    assert read_window({"range": "30d", "from": "", "to": ""}, zone, NOW).preset == "30d"
    assert read_window({"range": "30d", "from": "2026-01-01"}, zone, NOW).preset == ""


@pytest.mark.parametrize("params", [{"range": "5y"}, {"from": "soon"}, {"to": "2026-13-01"}])
def test_a_range_that_is_none_is_refused_with_a_hint(params):
    """Nothing is guessed about a time range."""
    with pytest.raises(InvalidQuery) as refused:
        read_window(params, read_zone("UTC"), NOW)
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
    zone = read_zone("UTC")
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
        assert read_zone(name).key == name
    with pytest.raises(InvalidQuery):
        read_zone("Mars/Olympus")
    with pytest.raises(InvalidQuery):
        read_zone("../../etc/passwd")
