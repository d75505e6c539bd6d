"""Structured parameters: the same filter from an address, the API or a command's options."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, parse_qsl, urlencode
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from opssentinal.query import PARAMS, Filter, from_params, parse, to_params

from .strategies import filters, refused, zones

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@given(filters(), zones)
def test_a_filter_survives_an_address(whole: Filter, zone: ZoneInfo) -> None:
    """Through parameters, and through a real query string, the filter comes back the same, in any zone."""
    pairs = to_params(whole, zone)
    assert {name for name, _ in pairs} <= set(PARAMS)
    assert from_params(pairs, zone) == whole
    assert from_params(parse_qsl(urlencode(pairs), strict_parsing=bool(pairs)), zone) == whole
    assert from_params(parse_qs(urlencode(pairs)), zone) == whole


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("actor=alice&actor=bob", "actor:alice,bob"),
        ("actor=alice&-outcome=success&-outcome=denied", "actor:alice -outcome:success,denied"),
        ("action=user.*&ip=10.0.0.0/8&target=incident_42", "action:user.* ip:10.0.0.0/8 target:incident_42"),
        ("q=actor:alice+timeout&tenant=acme", "actor:alice timeout tenant:acme"),
        ("q=actor:alice&actor=bob", "actor:alice AND actor:bob"),
        ("q=actor:alice&q=reset", "actor:alice reset"),
        ("actor=Smith,+Alice", 'actor:"Smith, Alice"'),
        ("from=2026-01-01&to=2026-01-31", "after:2026-01-01 before:2026-02-01"),
        ("from=2026-01-31&to=2026-01-31", "on:2026-01-31"),
        ("to=2026-01-31T09:30:00Z", "before:2026-01-31T09:30:00Z"),
        ("from=7d&to=now", "after:7d before:now"),
        ("from=today&to=today", "on:today"),
        ("from=2026-01-01&q=after:2026-01-05", "after:2026-01-05"),
        ("actor=&from=&to=&q=&ip=", ""),
        ("page=2&actor=alice&utm=x", "actor:alice"),
        ("is=sensitive&category=data_access&ua=*curl*", "is:sensitive category:data_access ua:*curl*"),
    ],
)
def test_parameters_say_what_the_text_says(address: str, text: str) -> None:
    """Each address is the same search as this text."""
    for zone in (UTC, BERLIN):
        found = from_params(parse_qsl(address, keep_blank_values=True), zone, NOW)
        assert found == parse(text, zone, NOW)


def test_to_includes_its_last_day_in_the_zone() -> None:
    """`to` with a date ends where the next day begins: after 25 hours when the clocks go back."""
    found = from_params({"from": ["2026-10-25"], "to": ["2026-10-25"]}, BERLIN)
    assert found.after and found.before
    assert found.before - found.after == timedelta(hours=25)
    assert to_params(found, BERLIN) == [("from", "2026-10-25"), ("to", "2026-10-25")]


@pytest.mark.parametrize(
    ("params", "detail"),
    [
        ([("q", "actr:x")], "q: At character 1"),
        ([("ip", "nonsense")], "ip: “nonsense” is no IP address"),
        ([("-outcome", "good")], "-outcome: “good” is no value of outcome"),
        ([("from", "yesterdy")], "from: “yesterdy” is no date"),
        ([("to", "2026-01-01"), ("to", "2026-01-02")], "to: There are several"),
        ([("from", "2026-02-01"), ("to", "2026-01-01")], "The time range ends"),
        ([("actor", "a\x00")], "actor: A value of actor contains the character U+0000"),
        ([("id", str(n)) for n in range(9)], "id: “"),
        ([("actor", f"a{n}") for n in range(101)], "actor: The filter has 101 values"),
    ],
)  # fmt: skip
def test_refusals_name_the_parameter(params: list[tuple[str, str]], detail: str) -> None:
    """A refused parameter is named, with what to write instead."""
    error = refused(from_params, params)
    assert detail in error.detail
    assert error.path in dict(params)


def test_a_mapping_that_hides_repeated_values_is_refused() -> None:
    """Django's QueryDict shows only the last of repeated values; half a filter must not pass for the whole."""
    with pytest.raises(TypeError, match="lists"):
        from_params({"actor": "alice"})


def test_parameters_are_in_stable_order() -> None:
    """The same search has one address, whatever was clicked first."""
    one = to_params(parse("tenant:t actor:b,a -is:sensitive x after:2026-01-01"))
    two = to_params(parse("x -is:sensitive actor:a tenant:t after:2026-01-01 actor:b"))
    assert one == two == [
        ("from", "2026-01-01"), ("actor", "a"), ("actor", "b"), ("-is", "sensitive"), ("tenant", "t"), ("q", "x"),
    ]  # fmt: skip
