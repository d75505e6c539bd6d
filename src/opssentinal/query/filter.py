"""The Filter: which events are meant, as one plain value that every part of the product understands.

It crosses the socket between the processes, is stored with an export and written into `export.downloaded`, and is
compiled to SQL by each search store; so it is structured, canonical (equal filters are equal bytes) and checked on
every way in, JSON included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from opssentinal.errors import InvalidQuery
from opssentinal.query import fields, instant

VALUES_MAX: Final = 100
# In all values together: a hundred event ids fit. The text form of any filter then fits `language.TEXT_CHARS_MAX`.
CHARS_MAX: Final = 4_000

TEXT: Final = "text"  # what `Chip.field` says for a free text


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One field that has one of `values`, or with `negated` has none of them."""

    field: str
    values: tuple[str, ...]
    negated: bool = False

    def __post_init__(self) -> None:
        if not self.values:
            raise InvalidQuery(f"{fields.shown(self.field)} has no value.", hint="Give at least one value.")
        values = {fields.canonical(self.field, value) for value in self.values}
        msgspec.structs.force_setattr(self, "values", tuple(sorted(values)))


class Phrase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A free text that occurs in the event, or with `negated` does not."""

    value: str
    negated: bool = False

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "value", fields.canonical_text(self.value))


class Chip(NamedTuple):
    """One removable piece of a filter: `filter.without(*chip)`. `value` is written as in a Term or Phrase."""

    field: str
    value: str
    negated: bool


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which events are meant. Everything in it must hold (AND); a Filter without anything means every event.

    `after <= occurred_at < before`, both aware, kept in UTC to the microsecond; never an empty range.

    `terms`: a Term holds if the field has one of its values (OR), a negated one if it has none of them. There may be
    several Terms of one field, which must all hold. Every store reads values alike:

    * A value is `pattern.pieces(value)`: one piece is compared with the whole of the stored value, more pieces have any
      run of characters (also none) between them. `*` alone: the event has this field.
    * `fields.FIELDS[field].folds_case` says whether case counts. Values of `lower_case` fields are
      lower case here as they are in events.
    * `actor` compares with the actor's id, e-mail and name, `target` with those of each target; one that matches is
      enough. `target_type` likewise. `session` and `request` are `context.session_id` and `context.request_id`.
    * `ip` is an address or network, canonical: `ipaddress.ip_network(value)` reads both. An IPv4 network contains IPv4
      addresses only, an IPv6 network IPv6 addresses only; an event's IPv4-mapped address counts as IPv4.
    * `category` and `is` stand for actions; the catalogue of event types says which, and the store is given it.
    * A field that an event does not have matches no value, so a negated Term holds for it.

    `text`: each Phrase must occur somewhere in the searchable text (which is the store's to say), case folded, as a
    pattern with any run of characters before and after it.
    """

    after: datetime | None = None
    before: datetime | None = None
    terms: tuple[Term, ...] = ()
    text: tuple[Phrase, ...] = ()

    def __post_init__(self) -> None:
        for name in ("after", "before"):
            if (moment := getattr(self, name)) is not None:
                msgspec.structs.force_setattr(self, name, instant.checked(moment))
        if self.after is not None and self.before is not None and self.after >= self.before:
            raise InvalidQuery(
                f"The time range ends ({instant.written(self.before)}) before anything can be in it "
                f"(it begins {instant.written(self.after)}).",
                hint="Make the end later than the beginning; the end itself is not included.",
            )
        msgspec.structs.force_setattr(self, "terms", _canonical_terms(self.terms))
        phrases = {(phrase.negated, phrase.value): phrase for phrase in self.text}
        msgspec.structs.force_setattr(self, "text", tuple(phrases[key] for key in sorted(phrases)))
        _check_size(self)

    def __and__(self, other: Filter) -> Filter:
        """Return the filter for events that both mean: how a principal's bounds are laid over what it asks for."""
        return Filter(
            after=max(filter(None, (self.after, other.after)), default=None),
            before=min(filter(None, (self.before, other.before)), default=None),
            terms=self.terms + other.terms,
            text=self.text + other.text,
        )

    def between(self, after: datetime | None, before: datetime | None) -> Filter:
        """Return this filter over another time range, for example a bar of the histogram."""
        return msgspec.structs.replace(self, after=after, before=before)

    def including(self, field: str, value: str) -> Filter:
        """Return this filter, also meaning events whose field is `value`, taken literally as it stands in an event.

        The first Term of the field is widened by it; without one, the filter is narrowed to it. No longer excluded.
        """
        value = fields.from_event(field, value)
        base = self.without(field, value, negated=True)
        terms = list(base.terms)
        for place, term in enumerate(terms):
            if term.field == field and not term.negated:
                terms[place] = Term(field, (*term.values, value))
                break
        else:
            terms.append(Term(field, (value,)))
        return msgspec.structs.replace(base, terms=tuple(terms))

    def excluding(self, field: str, value: str) -> Filter:
        """Return this filter without events whose field is `value`, taken literally as it stands in an event."""
        value = fields.from_event(field, value)
        base = self.without(field, value)
        return msgspec.structs.replace(base, terms=(*base.terms, Term(field, (value,), negated=True)))

    def without(self, field: str, value: str, negated: bool = False) -> Filter:
        """Return this filter without one value of a field, as a chip names it; `field` may be "text"."""
        if field == TEXT:
            gone = Phrase(value, negated)
            return msgspec.structs.replace(self, text=tuple(phrase for phrase in self.text if phrase != gone))
        value = fields.canonical(field, value)
        terms: list[Term] = []
        for term in self.terms:
            if (term.field, term.negated) != (field, negated):
                terms.append(term)
            elif kept := tuple(each for each in term.values if each != value):
                terms.append(Term(field, kept, negated))
        return msgspec.structs.replace(self, terms=tuple(terms))

    def chips(self) -> Iterator[Chip]:
        """Iterate over every value of terms and free text, in the order of the printed query."""
        for term in self.terms:
            for value in term.values:
                yield Chip(term.field, value, term.negated)
        for phrase in self.text:
            yield Chip(TEXT, phrase.value, phrase.negated)

    def to_json(self) -> bytes:
        """Return the canonical compact JSON: equal filters give equal bytes; what is default is left out."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> Filter:
        """Read what `to_json` wrote, checking all of it. Raises InvalidQuery."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise InvalidQuery(
                f"This is no filter: {error}.", hint="A filter has after, before, terms and text, and nothing else."
            ) from error


def _canonical_terms(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Order terms as FIELDS are, drop repeated ones and make the negated ones of a field one: NOT a AND NOT b."""
    excluded: dict[str, tuple[str, ...]] = {}
    kept: dict[tuple[str, tuple[str, ...]], Term] = {}
    for term in terms:
        if term.negated:
            excluded[term.field] = excluded.get(term.field, ()) + term.values
        else:
            kept[term.field, term.values] = term
    merged = [*kept.values(), *(Term(field, values, negated=True) for field, values in excluded.items())]
    order = {name: place for place, name in enumerate(fields.FIELDS)}
    return tuple(sorted(merged, key=lambda term: (order[term.field], term.negated, term.values)))


def _check_size(whole: Filter) -> None:
    values = [chip.value for chip in whole.chips()]
    if len(values) > VALUES_MAX:
        raise InvalidQuery(f"The filter has {len(values)} values.", hint=f"At most {VALUES_MAX}; use * to join some.")
    if (chars := sum(map(len, values))) > CHARS_MAX:
        raise InvalidQuery(
            f"The values of the filter have {chars:,} characters in all.",
            hint=f"At most {CHARS_MAX:,}; use fewer or shorter values.",
        )
