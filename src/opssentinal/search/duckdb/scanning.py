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
# Where any event will do, twenty times those that are wanted.
_FIRST_EVENTS: Final = 125_000
_SPARE: Final = 20
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
    takes_any: bool,
) -> Scan:
    """The same in portions of `extent_us`, the first and the last time that come into question.

    `within` makes the conditions of a portion, both of its ends included, and is told whether it is the first one; `is_little`,
    told the same, says whether all that is left is no more than one portion. Events are `spacing_us` apart on average, and
    `takes_any` of them where nothing but their time matters. Ends after PATIENCE_S and the portion in hand.
    """
    first, last = extent_us
    if first > last:
        return Scan([])
    began = time.monotonic()
    places: list[Place] = []
    events = min(_SPARE * count, _FIRST_EVENTS) if takes_any else _FIRST_EVENTS
    length_us = int(min(max(spacing_us * events, _FIRST_MIN_US), _FIRST_MAX_US))
    edge = last if newest else first
    while True:
        is_first = edge == (last if newest else first)
        if is_little(is_first):
            length_us = last - first + 1
        begin, end = (max(edge - length_us + 1, first), edge) if newest else (edge, min(edge + length_us - 1, last))
        started = time.monotonic()
        places += scan(rows, within(begin, end, is_first), count - len(places), newest=newest).places
        if len(places) == count or (begin == first if newest else end == last):
            return Scan(places)
        now = time.monotonic()
        if now - began > PATIENCE_S:
            return Scan(places, Position(begin, 0) if newest else Position(end, _BEYOND_ANY_SEQ))
        edge = begin - 1 if newest else end + 1
        length_us = int(length_us * max(_GROWTH_MIN, min(_GROWTH_MAX, _PORTION_S / max(now - started, 1e-6))))
