"""Looking through texts in portions of time, so that what was found by the time patience ends is an answer too.

A text that is nowhere has to be looked for everywhere. The newest portion comes first (or the oldest), where most people find
what they want; each portion is as long as the speed so far allows, and a search that takes too long says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from opssentinal.search.answers import Position
from opssentinal.search.duckdb.conditions import Condition

# In smaller tables a portion would cost more than it spares.
PORTIONS_FROM_ROWS: Final = 2_000_000
PATIENCE_S: Final = 1.0
_FIRST_US: Final = 86_400_000_000
_PORTION_S: Final = 0.25
_GROWTH_MAX: Final = 4.0
_GROWTH_MIN: Final = 0.25
_BEYOND_ANY_SEQ: Final = 1 << 62

# occurred_us, seq and the number of the row.
Place = tuple[int, int, int]
Rows = Callable[[str, Sequence[Any]], list[Any]]


class Scan(NamedTuple):
    """The places of events in order; `stopped_at` is where to go on, if patience ended before the search did."""

    places: list[Place]
    stopped_at: Position | None = None


def scan(rows: Rows, condition: Condition, count: int, *, newest: bool) -> Scan:
    """The first `count` places that meet the condition, in one question."""
    return Scan(rows(_select(condition.sql, count, newest=newest), condition.parameters))


def scan_in_portions(rows: Rows, condition: Condition, range_: Condition, count: int, *, newest: bool) -> Scan:
    """The same in portions of time; `range_` is the part of the condition that bounds the time. Ends after PATIENCE_S and the
    portion in hand."""
    [(first, last)] = rows(
        f"SELECT min(occurred_us), max(occurred_us) FROM event WHERE {range_.sql}", range_.parameters
    )
    if first is None:
        return Scan([])
    began = time.monotonic()
    places: list[Place] = []
    length_us = _FIRST_US
    edge = last if newest else first
    while True:
        begin, end = (max(edge - length_us + 1, first), edge) if newest else (edge, min(edge + length_us - 1, last))
        started = time.monotonic()
        sql = _select(f"occurred_us BETWEEN ? AND ? AND {condition.sql}", count - len(places), newest=newest)
        places += rows(sql, [begin, end, *condition.parameters])
        if len(places) == count or (begin == first if newest else end == last):
            return Scan(places)
        now = time.monotonic()
        if now - began > PATIENCE_S:
            return Scan(places, Position(begin, 0) if newest else Position(end, _BEYOND_ANY_SEQ))
        edge = begin - 1 if newest else end + 1
        length_us = int(length_us * max(_GROWTH_MIN, min(_GROWTH_MAX, _PORTION_S / max(now - started, 1e-6))))


def _select(condition: str, count: int, *, newest: bool) -> str:
    direction = "DESC" if newest else "ASC"
    return (
        f"SELECT occurred_us, seq, rowid FROM event WHERE {condition} "
        f"ORDER BY occurred_us {direction}, seq {direction} LIMIT {count}"
    )
