"""The query language: the text of the query bar, and how it becomes a Filter and back.

    actor:alice action:user.*,login.* -outcome:success ip:10.0.0.0/8 after:2026-01-01 "free text"

* Terms are separated by spaces and must all hold. `key:value` is a term, anything else is free text.
* Values joined by commas, and a key that is repeated, are alternatives: `actor:alice actor:bob` is `actor:alice,bob`.
  `AND` between two terms of one key asks for both: `target:a AND target:b`.
* `-` before a term or a free text excludes it; every exclusion counts.
* Quotes take spaces, commas and colons literally; in them `\\"` is a quote. `*` is a wildcard, also in quotes; `\\*` is
  a star and `\\\\` a backslash.
* `after:` (inclusive), `before:` (exclusive) and `on:` (one day) take what `instant.parse_instant` reads; repeated ones
  must all hold.

Nothing that looks like a key is ever taken for free text: a mistyped key would silently mean another search.
The grammar is regular, so the reader is one pass without backtracking, linear in the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Final, NamedTuple

from opssentinal.errors import InvalidQuery
from opssentinal.query import fields, instant
from opssentinal.query.filter import Filter, Phrase, Term

# Twice `filter.CHARS_MAX` for quoting, and the keys: the text of every Filter fits.
TEXT_CHARS_MAX: Final = 12_000

TIME_KEYS: Final = ("after", "before", "on")
KEYS: Final = (*fields.FIELDS, *TIME_KEYS)

_OPERATORS: Final = ("AND", "OR", "NOT")


class _Token(NamedTuple):
    """One piece of the text. `key` is None for free text; `start` counts characters from 0."""

    start: int
    negated: bool
    key: str | None
    values: tuple[str, ...]
    quoted: bool


def parse(text: str, tz: tzinfo = UTC, now: datetime | None = None) -> Filter:
    """Read a query text. Bare dates are days of `tz`, relative times count back from `now` (default: the clock).

    Raises InvalidQuery with the place and a hint, and nothing else, whatever the text is.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise InvalidQuery(f"The query has {len(text):,} characters.", hint=f"At most {TEXT_CHARS_MAX:,}.")
    now = now or datetime.now(UTC)
    found = Filter()
    # Alternatives of one key gather until AND, which begins a new group.
    group: dict[tuple[str, bool], tuple[str, ...]] = {}
    joining: _Token | None = None
    first = True
    for token in _tokens(text):
        try:
            if _is_operator(token, first=first or joining is not None):
                joining = token
                found, group = found & _grouped(group), {}
                continue
            if token.key is None:
                found &= Filter(text=(Phrase(token.values[0], token.negated),))
            elif token.key in TIME_KEYS:
                found &= _time_range(token, tz, now)
            else:
                term = Term(token.key, token.values, token.negated)
                group[term.field, term.negated] = group.get((term.field, term.negated), ()) + term.values
        except InvalidQuery as error:
            raise _placed(error, text, token.start) from error
        joining, first = None, False
    if joining is not None:
        raise _placed(_lonely_and(), text, joining.start)
    return found & _grouped(group)


def format(filter: Filter, tz: tzinfo = UTC, *, absolute: bool = False) -> str:
    """Write a filter as the text that `parse` with the same zone reads as the same filter; quoted where needed only.

    With `absolute` times have their offset, so that the text means the same in every zone; for what is kept.
    """
    words: list[str] = []
    previous: Term | None = None
    for term in filter.terms:
        if previous is not None and (previous.field, previous.negated, term.negated) == (term.field, False, False):
            words.append("AND")
        values = ",".join(_written(value) for value in term.values)
        words.append(f"{'-' if term.negated else ''}{term.field}:{values}")
        previous = term
    if filter.after is not None:
        words.append(f"after:{instant.written(filter.after, tz, absolute=absolute)}")
    if filter.before is not None:
        words.append(f"before:{instant.written(filter.before, tz, absolute=absolute)}")
    for phrase in filter.text:
        words.append(f"{'-' if phrase.negated else ''}{_written(phrase.value, free=True)}")
    return " ".join(words)


def _grouped(group: dict[tuple[str, bool], tuple[str, ...]]) -> Filter:
    return Filter(terms=tuple(Term(field, values, negated) for (field, negated), values in group.items()))


def _is_operator(token: _Token, *, first: bool) -> bool:
    """Tell whether the token is AND; refuse the operators of other languages instead of searching for their names."""
    if token.key is not None or token.quoted or token.values[0] not in _OPERATORS:
        return False
    word = token.values[0]
    if word != "AND" or token.negated:
        raise InvalidQuery(
            f"{word} is no operator here.",
            hint="Join alternatives by a comma (actor:alice,bob), exclude with a minus (-actor:alice), "
            f'and search for the word itself in quotes: "{word}".',
        )
    if first:
        raise _lonely_and()
    return True


def _lonely_and() -> InvalidQuery:
    return InvalidQuery("AND has nothing on one side.", hint='Search for the word itself in quotes: "AND".')


def _time_range(token: _Token, tz: tzinfo, now: datetime) -> Filter:
    if token.negated:
        raise InvalidQuery(
            f"{token.key}: cannot be excluded.", hint="The opposite of after: is before:, and of before: after:."
        )
    if len(token.values) > 1:
        raise InvalidQuery(
            f"{token.key}: takes one time.", hint="For a range write after:2026-01-01 before:2026-02-01."
        )
    if token.key == "on":
        after, before = instant.day_bounds(token.values[0], tz, now)
        return Filter(after, before)
    moment = instant.parse_instant(token.values[0], tz, now)
    return Filter(after=moment) if token.key == "after" else Filter(before=moment)


def _placed(error: InvalidQuery, text: str, at: int) -> InvalidQuery:
    """Return the error with the place (counted from 1) and the text found there."""
    near = f"“{fields.shown(text[at : at + 40].split(maxsplit=1)[0])}”" if text[at : at + 1].strip() else "the end"
    return InvalidQuery(f"At character {at + 1}, {near}: {error.detail}", hint=error.hint, code=error.code)


# --- reading ---------------------------------------------------------------------------------------------------------


def _tokens(text: str) -> Iterator[_Token]:
    at = _past_spaces(text, 0)
    while at < len(text):
        start = at
        negated = text[at] == "-"
        at += negated
        if text[at : at + 1].strip() == "":
            hint = 'Write the minus right before what it excludes: -outcome:success; or quote it: "-".'
            raise _placed(InvalidQuery("The minus excludes nothing.", hint=hint), text, start)
        quoted = text[at] == '"'
        word_end = _word_end(text, at, '"')
        colon = text.find(":", at, word_end)
        if colon >= 0:
            key = _key(text, at, colon)
            values, at = _list(text, colon + 1, key)
            yield _Token(start, negated, key, values, quoted)
        else:
            value, at = _quoted(text, at) if quoted else _bare(text, at, "")
            _require_space(text, at)
            yield _Token(start, negated, None, (value,), quoted)
        at = _past_spaces(text, at)


def _key(text: str, start: int, colon: int) -> str:
    key = text[start:colon].lower()
    if key in KEYS:
        return key
    error = fields.unknown_key(key, KEYS)
    if "(" in key or ")" in key:
        error.hint = "There are no parentheses: terms must all hold; join alternatives by a comma, actor:alice,bob."
    else:
        error.hint += ' To search for text with a colon, put it in quotes: "10:30".'
    raise _placed(error, text, start)


def _list(text: str, at: int, key: str) -> tuple[tuple[str, ...], int]:
    """Read values joined by commas; return them and the place after the last."""
    values: list[str] = []
    while True:
        value, end = _quoted(text, at) if text[at : at + 1] == '"' else _bare(text, at, ",")
        if not value:
            hint = f'Write the value right after it, without a space: {key}:value or {key}:"two words".'
            raise _placed(InvalidQuery(f"{key} has no value.", hint=hint), text, at)
        values.append(value)
        if text[end : end + 1] != ",":
            _require_space(text, end)
            return tuple(values), end
        at = end + 1


def _bare(text: str, at: int, stops: str) -> tuple[str, int]:
    end = _word_end(text, at, stops + '"')
    if text[end : end + 1] == '"':
        hint = 'Put the whole value in quotes, a quote in it as \\": actor:"Alice \\"Al\\" Smith".'
        raise _placed(InvalidQuery("A quote begins inside a word.", hint=hint), text, end)
    return text[at:end], end


def _quoted(text: str, start: int) -> tuple[str, int]:
    """Read from the quote at `start`; `\\"` is a quote, every other backslash is left for the pattern to read."""
    read: list[str] = []
    at = start + 1
    while at < len(text):
        char = text[at]
        if char == '"':
            return "".join(read), at + 1
        if char == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            read.append('"' if text[at + 1] == '"' else "\\\\")
            at += 2
            continue
        read.append(char)
        at += 1
    hint = 'Close it with another ", and write a quote inside quotes as \\".'
    raise _placed(InvalidQuery("The quote is never closed.", hint=hint), text, start)


def _require_space(text: str, at: int) -> None:
    if text[at : at + 1].strip():
        hint = 'Put a space after the closing quote, or the whole value in quotes, a quote in it as \\".'
        raise _placed(InvalidQuery("Something follows a closing quote.", hint=hint), text, at)


def _past_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _word_end(text: str, at: int, stops: str) -> int:
    while at < len(text) and not text[at].isspace() and text[at] not in stops:
        at += 1
    return at


# --- writing ---------------------------------------------------------------------------------------------------------


def _written(value: str, *, free: bool = False) -> str:
    """Write a value, or with `free` a free text, in quotes if it would not be read back as itself without."""
    special = ':"' if free else ',"'
    plain = not any(char.isspace() or char in special for char in value)
    if free and (value.startswith("-") or value in _OPERATORS):
        plain = False
    if plain:
        return value
    written: list[str] = []
    at = 0
    while at < len(value):
        step = 1
        if value[at] == "\\" and value[at + 1 : at + 2] in ("\\", "*"):
            step = 2  # an escape of the pattern, read back as it is
        elif value[at] == '"' or (value[at] == "\\" and value[at + 1 : at + 2] in ('"', "")):
            written.append("\\")
        written.append(value[at : at + step])
        at += step
    return '"' + "".join(written) + '"'
