"""Cursors: they go on where the page ended, and for nobody and nothing else."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.errors import InvalidCursor
from opssentinal.query import Cursor, Filter, cursor_time, decode_cursor, encode_cursor, from_params, parse

from .strategies import filters

KEY = bytes(range(32))
ALICE = "user:usr_7"
FILTER = parse("actor:alice after:2026-01-01")
CURSOR = Cursor(1_795_000_000_123_456, 41, 2_900, datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC))
TEXT = encode_cursor(KEY, CURSOR, FILTER, ALICE)

cursors = st.builds(
    Cursor,
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.datetimes(datetime(1950, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["newest", "oldest"]),
)


@given(cursors, filters(), st.text(), st.binary(min_size=32, max_size=64))
def test_a_cursor_survives_its_text(cursor: Cursor, whole: Filter, principal: str, key: bytes) -> None:
    """Sealed and opened with the same key, filter and principal, it is the same cursor, safe in an address."""
    text = encode_cursor(key, cursor, whole, principal)
    assert decode_cursor(key, text, whole, principal) == cursor
    assert cursor_time(text) == cursor.asked_at
    assert text.replace("-", "").replace("_", "").isalnum()
    assert len(text) == len(TEXT)


@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_no_character_can_be_changed(place: int, char: str) -> None:
    """One other character anywhere, spare bits of the encoding included, and it is refused."""
    altered = TEXT[:place] + char + TEXT[place + 1 :]
    if altered == TEXT:
        return
    with pytest.raises(InvalidCursor):
        decode_cursor(KEY, altered, FILTER, ALICE)


@given(st.integers(0, 49), st.integers(1, 255))
def test_no_byte_can_be_changed(place: int, flip: int) -> None:
    """The same for the bytes: place, order, head, time and seal."""
    raw = bytearray(base64.urlsafe_b64decode(TEXT + "=" * (-len(TEXT) % 4)))
    raw[place] ^= flip
    with pytest.raises(InvalidCursor):
        decode_cursor(KEY, base64.urlsafe_b64encode(raw).decode().rstrip("="), FILTER, ALICE)


@given(st.text(max_size=80))
def test_any_text_is_refused_as_a_cursor(text: str) -> None:
    """Whatever comes in the parameter is an InvalidCursor with a hint, for both readers."""
    with pytest.raises(InvalidCursor) as caught:
        decode_cursor(KEY, text, FILTER, ALICE)
    assert caught.value.hint
    try:
        cursor_time(text)
    except InvalidCursor as error:
        assert error.hint


@pytest.mark.parametrize("text", ["", TEXT[:-1], TEXT + "A", TEXT + "=", TEXT + "\n", " " + TEXT, TEXT * 2])
def test_a_cursor_has_one_spelling(text: str) -> None:
    """Cut, padded or decorated, it is not the cursor that was returned."""
    with pytest.raises(InvalidCursor):
        decode_cursor(KEY, text, FILTER, ALICE)


@given(filters())
def test_a_cursor_is_of_one_search(other: Filter) -> None:
    """With any other filter it is refused."""
    if other == FILTER:
        return
    with pytest.raises(InvalidCursor):
        decode_cursor(KEY, TEXT, other, ALICE)


@pytest.mark.parametrize("principal", ["", "user:usr_8", "user:usr_70", "key:usr_7"])
def test_a_cursor_is_of_one_principal(principal: str) -> None:
    """Handed to somebody else it opens nothing."""
    with pytest.raises(InvalidCursor):
        decode_cursor(KEY, TEXT, FILTER, principal)


def test_a_cursor_is_of_one_key() -> None:
    """Another installation's key, or a rotated one, opens nothing; a short key is a mistake of the program."""
    with pytest.raises(InvalidCursor):
        decode_cursor(bytes(32), TEXT, FILTER, ALICE)
    with pytest.raises(ValueError, match="32 bytes"):
        encode_cursor(b"short", CURSOR, FILTER, ALICE)


def test_the_search_is_the_same_however_it_was_written() -> None:
    """The second page may be asked for with the parameters in another order or form."""
    again = from_params([("q", "after:2026-01-01"), ("actor", "alice")])
    assert decode_cursor(KEY, TEXT, again, ALICE) == CURSOR


def test_a_relative_range_stays_what_it_was_on_the_first_page() -> None:
    """`from=7d` names another instant on each request; counted from the cursor's time it is the first page's."""
    params = [("from", "7d"), ("actor", "alice")]
    first = from_params(params, now=CURSOR.asked_at)
    text = encode_cursor(KEY, CURSOR, first, ALICE)
    later = CURSOR.asked_at + timedelta(minutes=3)
    with pytest.raises(InvalidCursor):
        decode_cursor(KEY, text, from_params(params, now=later), ALICE)
    assert decode_cursor(KEY, text, from_params(params, now=cursor_time(text)), ALICE) == CURSOR
