"""The filter as chips: each says one thing that is asked for, and its link takes that away."""

from __future__ import annotations

from typing import NamedTuple

from opssentinal.events.sentences import visible
from opssentinal.web.log.place import Place


class ChipView(NamedTuple):
    """One chip; `field` is empty for free text."""

    field: str
    value: str
    negated: bool
    remove_url: str


def chips(place: Place) -> list[ChipView]:
    """Return a chip for each value of the terms, in the order of the printed query."""
    return [
        ChipView(
            "" if chip.field == "text" else chip.field.replace("_", " "),
            visible(chip.value),
            chip.negated,
            place.with_terms(place.terms.without(*chip)).url(),
        )
        for chip in place.terms.chips()
    ]
