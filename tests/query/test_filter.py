"""The Filter itself: canonical, checked on every way in, and edited by clicks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.events import catalogue, model
from opssentinal.query import CATEGORIES, FIELDS, OUTCOMES, Filter, Phrase, Term, literal, parse, pieces
from opssentinal.query.pattern import joined

from .strategies import filters, refused, values


@given(filters())
def test_a_filter_survives_its_json(whole: Filter) -> None:
    """JSON gives back the same filter, and equal filters are equal bytes."""
    assert Filter.from_json(whole.to_json()) == whole
    assert Filter.from_json(whole.to_json().decode()).to_json() == whole.to_json()


def test_json_is_compact() -> None:
    """What is default is left out; names and times are those of the API."""
    assert Filter().to_json() == b"{}"
    assert parse("-actor:bob after:2026-01-01 x").to_json() == (
        b'{"after":"2026-01-01T00:00:00Z","terms":[{"field":"actor","values":["bob"],"negated":true}],'
        b'"text":[{"value":"x"}]}'
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"limit":1}',
        '{"after":"2026-01-01T00:00:00"}',
        '{"after":"0001-01-01T00:00:00+14:00"}',
        '{"after":"2026-01-02T00:00:00Z","before":"2026-01-01T00:00:00Z"}',
        '{"terms":[{"field":"colour","values":["red"]}]}',
        '{"terms":[{"field":"actor","values":[]}]}',
        '{"terms":[{"field":"actor","values":[""]}]}',
        '{"terms":[{"field":"actor","values":["a\\u0000"]}]}',
        '{"terms":[{"field":"ip","values":["nonsense"]}]}',
        '{"terms":[{"field":"actor","values":"alice"}]}',
        '{"text":[{"value":"*"}]}',
        b"\xff",
    ],
)
def test_json_is_checked_like_any_other_input(text: str | bytes) -> None:
    """No way in is unchecked: bad JSON, unknown names and bad values are an InvalidQuery."""
    refused(Filter.from_json, text)


def test_equal_filters_are_equal_however_they_were_written() -> None:
    """Order, repetition, spelling and zone of the input leave no trace."""
    one = parse("-actor:b tenant:t -actor:a,b actor:y,x,y ip:10.9.9.9/8 action:USER.* after:2026-01-01 q p")
    two = Filter(
        after=datetime(2026, 1, 1, 5, tzinfo=timezone(timedelta(hours=5))),
        terms=(
            Term("action", ("user.**",)),
            Term("ip", ("10.0.0.0/8",)),
            Term("actor", ("a", "b"), negated=True),
            Term("tenant", ("t",)),
            Term("actor", ("x", "y")),
        ),
        text=(Phrase("p"), Phrase("q"), Phrase("p")),
    )
    assert one == two
    assert one.to_json() == two.to_json()
    assert hash(one) == hash(two)


@given(filters(), filters())
def test_and_means_what_both_mean(one: Filter, two: Filter) -> None:
    """Everything that either demands is demanded, in either order; a filter and itself is itself."""
    one, two = one.between(None, None), two.between(None, None)
    both = one & two
    assert both == two & one
    assert one & one == one
    assert one & Filter() == one
    demanded = {(chip.field, chip.negated, chip.value) for each in (one, two) for chip in each.chips()}
    assert {(chip.field, chip.negated, chip.value) for chip in both.chips()} == demanded


def test_a_bound_laid_over_a_filter_cannot_be_widened_by_it() -> None:
    """A reader bound to one tenant gets that tenant's events of what it asks for, never an alternative to them."""
    bound = Filter(terms=(Term("tenant", ("acme",)),))
    asked = parse("tenant:* AND tenant:other tenant:third")
    assert bound.terms[0] in (asked & bound).terms
    assert len((asked & bound).terms) == 3


def test_and_of_time_ranges_is_their_overlap() -> None:
    """The later beginning and the earlier end count; no overlap is an error, not an empty filter."""
    january, mid = parse("after:2026-01-01 before:2026-02-01"), parse("after:2026-01-15 before:2026-03-01")
    assert january & mid == parse("after:2026-01-15 before:2026-02-01")
    refused(january.__and__, parse("after:2026-02-01"))


def test_clicks_include_exclude_and_take_back() -> None:
    """A click widens or narrows one field, the opposite click takes the first back, and a chip removes itself."""
    one = parse("outcome:denied x").including("actor", "alice")
    assert one == parse("outcome:denied actor:alice x")
    assert one.including("actor", "bob") == parse("outcome:denied actor:alice,bob x")
    assert one.excluding("actor", "alice") == parse("outcome:denied -actor:alice x")
    assert one.excluding("actor", "alice").including("actor", "alice") == one
    assert one.without("actor", "alice") == parse("outcome:denied x")
    assert one.without("actor", "nobody") == one
    assert one.without("outcome", "Denied") == parse("actor:alice x")
    assert one.without("text", "x") == parse("outcome:denied actor:alice")
    assert one.without("text", "x", negated=True) == one
    refused(one.including, "colour", "red")


@given(filters())
def test_removing_every_chip_leaves_the_time_range(whole: Filter) -> None:
    """Chips are all there is besides the time range, and each can be taken away."""
    left = whole
    for chip in whole.chips():
        left = left.without(*chip)
    assert left == Filter(whole.after, whole.before)


def test_a_clicked_value_is_taken_literally() -> None:
    """Somebody who is called `*` is excluded alone, not with everybody."""
    assert Filter().excluding("actor", "*").terms == (Term("actor", (r"\*",), negated=True),)
    assert Filter().including("ip", "::ffff:10.0.0.1").terms == (Term("ip", ("10.0.0.1",)),)


@given(st.text(min_size=1, max_size=700))
def test_whatever_stands_in_an_event_can_be_clicked(text: str) -> None:
    """A value from an event is always a value of a filter that matches it: newlines and over-long texts too."""
    value = Filter().including("ua", text).terms[0].values[0]
    pattern = ".*".join(map(re.escape, pieces(value)))
    assert re.fullmatch(pattern, text, re.DOTALL)


def test_clicked_values_are_cut_only_where_they_must_be() -> None:
    """Control characters and what is over the limit become a wildcard, the rest stays exact."""
    assert Filter().including("actor", "a\nb").terms[0].values == ("a*b",)
    assert Filter().including("ua", "x" * 511).terms[0].values == ("x" * 511,)
    assert Filter().including("ua", "x" * 2_048).terms[0].values == ("x" * 511 + "*",)


def test_the_vocabulary_is_that_of_the_events() -> None:
    """Outcomes and categories are those that events and their catalogue have."""
    assert OUTCOMES == model.OUTCOMES
    assert tuple(catalogue.CATEGORIES) == CATEGORIES


def test_another_range_replaces_the_first() -> None:
    """`between` zooms, and zooms out again."""
    whole = parse("actor:alice after:2026-01-01")
    day = datetime(2026, 3, 1, tzinfo=UTC)
    assert whole.between(day, day + timedelta(days=1)) == parse("actor:alice on:2026-03-01")
    assert whole.between(None, None) == parse("actor:alice")
    refused(whole.between, day, day)
    refused(whole.between, datetime(2026, 3, 1), None)


def test_a_filter_cannot_be_changed() -> None:
    """What a cursor or an export was bound to stays what it was."""
    with pytest.raises(AttributeError):
        Filter().after = datetime.now(UTC)  # type: ignore[misc]


@given(values)
def test_a_literal_is_one_piece(text: str) -> None:
    """Text from an event, written as a value, has no wildcard in it and is the same text."""
    assert pieces(literal(text)) == (text,)


@given(values)
def test_canonical_values_mean_the_same_and_are_stable(text: str) -> None:
    """The canonical form has the same pieces, but for repeated stars, is not longer, and is its own canonical form."""
    canonical = joined(pieces(text))
    parts = pieces(text)
    assert pieces(canonical) == tuple(part for place, part in enumerate(parts) if part or place in (0, len(parts) - 1))
    assert joined(pieces(canonical)) == canonical
    assert len(canonical) <= len(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("alice", ("alice",)),
        ("user.*", ("user.", "")),
        ("*", ("", "")),
        ("a*b*c", ("a", "b", "c")),
        (r"a\*b", ("a*b",)),
        (r"CORP\alice", (r"CORP\alice",)),
        (r"CORP\\*", ("CORP\\", "")),
        ("\\", ("\\",)),
        ("100%_", ("100%_",)),
    ],
)
def test_pieces(value: str, expected: tuple[str, ...]) -> None:
    """Stars divide, escaped stars do not, and what SQL gives a meaning to has none here."""
    assert pieces(value) == expected


def test_the_vocabulary_can_be_compiled_blindly() -> None:
    """Every field has what a store and the guide need; choices and wildcards exclude each other."""
    for name, field in FIELDS.items():
        assert field.name == name
        assert field.matches and field.example
        assert not (field.choices and field.wildcards)
        assert Term(name, (field.example,)).values == (field.example,)


def test_the_struct_is_what_the_socket_carries() -> None:
    """A filter inside another message is decoded with the same checks."""

    class Request(msgspec.Struct):
        filter: Filter

    wire = msgspec.json.encode(Request(parse("actor:alice -is:sensitive after:2026-01-01")))
    assert msgspec.json.decode(wire, type=Request).filter == parse("actor:alice -is:sensitive after:2026-01-01")
