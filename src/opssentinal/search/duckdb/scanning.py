"""Looking for events in portions of time, the newest first, or the oldest.

In a large log what is frequent is found in the first portion, and only what is rare or nowhere has to be looked for
everywhere. Each portion is as long as the speed so far allows; a search that takes too long answers with what it has found by
then, and how far it came.
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
# The first portion: as long as holds this many events on average, a month at most, since one wrong clock spoils the average.
_FIRST_EVENTS: Final = 125_000
# Before it one of this many events for each that is wanted: of what is in every eightieth, the engine would otherwise sort
# thousands to keep fifty (17 ms instead of 2).
_SPARE: Final = 80
_FIRST_MIN_US: Final = 60_000_000
_FIRST_MAX_US: Final = 30 * 86_400_000_000
_PORTION_S: Final = 0.25
_GROWTH_MAX: Final = 8.0
_GROWTH_MIN: Final = 0.25
_BEYOND_ANY_SEQ: Final = 1 << 62
_BEYOND_ANY_TIME: Final = 1 << 62

# occurred_us, seq and the number of the row.
Place = tuple[int, int, int]
Rows = Callable[[str, Sequence[Any]], list[Any]]


class Scan(NamedTuple):
    """The places of events in order; `stopped_at` is where to go on, if patience ended before the search did."""

    places: list[Place]
    stopped_at: Position | None = None


class Span:
    """How many events there are, and when the first and the last of them occurred, remembered from one question to the next: with
    a single row that is not in the file yet, the engine reads all of them to tell (60 ms of processor for ten million).

    Events that are forgotten are still counted, and hold the ends where they were: whoever looks between these misses nothing.
    """

    def __init__(self) -> None:
        self._known: tuple[int, int, int, int] = (0, 0, _BEYOND_ANY_TIME, -_BEYOND_ANY_TIME)

    def until(self, rows: Rows, position: int) -> tuple[int, int, int]:
        """Count, first and last time of the events before `position`, where the question is. Any thread may ask."""
        known, total, first, last = self._known
        if position > known:
            [(count, begin, end)] = rows(
                "SELECT count(*), min(occurred_us), max(occurred_us) FROM event WHERE seq >= ?", [known]
            )
            if count:
                total, first, last = total + count, min(first, begin), max(last, end)
            self._known = position, total, first, last
        return total, first, last


def scan(rows: Rows, alternatives: Sequence[Condition], count: int, *, newest: bool) -> Scan:
    """The first `count` places that meet one of the conditions, in one question each."""
    direction = "DESC" if newest else "ASC"
    found: set[Place] = set()
    for condition in alternatives:
        sql = (
            f"SELECT occurred_us, seq, rowid FROM event WHERE {condition.sql} "
            f"ORDER BY occurred_us {direction}, seq {direction} LIMIT {count}"
        )
        found.update(rows(sql, condition.parameters))
    return Scan(sorted(found, reverse=newest)[:count])


def scan_in_portions(
    rows: Rows,
    within: Callable[[int, int, bool], Sequence[Condition]],
    is_little: Callable[[bool], bool],
    extent_us: tuple[int, int],
    spacing_us: float,
    count: int,
    *,
    newest: bool,
    may_be_frequent: bool,
) -> Scan:
    """The same in portions of `extent_us`, the first and the last time that come into question.

    `within` makes the conditions of a portion, both of its ends included, and is told whether it is an early one; `is_little`,
    told the same, says whether all that is left is no more than one portion. Events are `spacing_us` apart on average; a short
    portion first, where what is looked for `may_be_frequent`. Ends after PATIENCE_S and the portion in hand.
    """
    first, last = extent_us
    if first > last:
        return Scan([])
    began = time.monotonic()
    places: list[Place] = []
    usual_us = _length_us(spacing_us, _FIRST_EVENTS)
    length_us = _length_us(spacing_us, _SPARE * count) if may_be_frequent else usual_us
    edge = last if newest else first
    is_short, is_early = may_be_frequent, True
    while True:
        if is_little(is_early):
            length_us = last - first + 1
        begin, end = (max(edge - length_us + 1, first), edge) if newest else (edge, min(edge + length_us - 1, last))
        started = time.monotonic()
        places += scan(rows, within(begin, end, is_early), count - len(places), newest=newest).places
        if len(places) == count or (begin == first if newest else end == last):
            return Scan(places)
        now = time.monotonic()
        if now - began > PATIENCE_S:
            return Scan(places, Position(begin, 0) if newest else Position(end, _BEYOND_ANY_SEQ))
        edge = begin - 1 if newest else end + 1
        grown_us = int(length_us * max(_GROWTH_MIN, min(_GROWTH_MAX, _PORTION_S / max(now - started, 1e-6))))
        length_us, is_short, is_early = (usual_us, False, True) if is_short else (grown_us, False, False)


def _length_us(spacing_us: float, events: int) -> int:
    """How long a first portion of so many events is, on average."""
    return int(min(max(spacing_us * events, _FIRST_MIN_US), _FIRST_MAX_US))
