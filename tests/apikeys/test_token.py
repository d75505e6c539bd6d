"""The text of a key: found by scanners, and no typing error passes."""

from __future__ import annotations

import math
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from opssentinal.apikeys import token as tokens

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "api.md"


def test_a_new_token_has_the_published_form() -> None:
    """A token matches the pattern that the guide publishes for secret scanners, inside a line of text too."""
    token = tokens.make_token()
    assert tokens.TOKEN_PATTERN in GUIDE.read_text()
    assert re.findall(tokens.TOKEN_PATTERN, f'OPS_KEY="{token}" # for billing') == [token]
    assert tokens.is_well_formed(token)
    assert token[4:12] == tokens.public_id(token)


def test_tokens_are_long_enough_and_all_different() -> None:
    """The secret has at least 190 bits, and no two tokens share an id or a secret."""
    assert tokens.SECRET_CHARS * math.log2(62) >= 190
    made = [tokens.make_token() for _ in range(500)]
    assert len({tokens.public_id(token) for token in made}) == 500
    assert len({token[12:44] for token in made}) == 500


@given(st.integers(0, 49), st.characters(min_codepoint=33, max_codepoint=0x2FF))
def test_one_wrong_character_is_noticed(place: int, char: str) -> None:
    """CRC-32 finds every change of a single character, wherever it is."""
    token = tokens.make_token()
    changed = token[:place] + char + token[place + 1 :]
    assert tokens.is_well_formed(changed) == (changed == token)


@given(st.text(max_size=60))
def test_other_texts_are_no_tokens(text: str) -> None:
    """Whatever else stands in an Authorization header is refused without an error."""
    assert not tokens.is_well_formed(text)


def test_swapped_characters_are_noticed() -> None:
    """Two neighbours in the wrong order are a typing error too."""
    token = tokens.make_token()
    for place in range(4, 49):
        swapped = token[:place] + token[place + 1] + token[place] + token[place + 2 :]
        assert tokens.is_well_formed(swapped) == (swapped == token)


def test_the_checksum_is_the_published_one() -> None:
    """The checksum of a fixed token, worked out by hand from CRC-32, so that other programs can check it."""
    body = "ops_" + "0" * 40
    import zlib

    number, digits = zlib.crc32(body.encode()), ""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    while number:
        number, rest = divmod(number, 62)
        digits = alphabet[rest] + digits
    assert tokens.is_well_formed(body + digits.rjust(6, "0"))
