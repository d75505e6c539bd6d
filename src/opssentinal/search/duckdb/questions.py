"""The store's questions in SQL: pages, facets, histograms, extents. Each takes a cursor that is inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, NamedTuple

import duckdb

from opssentinal.errors import InvalidQuery, NotFound
from opssentinal.events.model import RecordedEvent, from_us, to_us
from opssentinal.query import Filter, zone_named
from opssentinal.search.answers import (
    BUCKETS_MAX,
    FACET_FIELDS,
    FACET_VALUES_MAX,
    PAGE_EVENTS_MAX,
    Extent,
    FacetValue,
    Histogram,
    Order,
    Overview,
    Page,
    Position,
    SeenAction,
)  # fmt: skip
from opssentinal.search.duckdb import scanning, time_axis
from opssentinal.search.duckdb.conditions import (
    Condition,
    Folded,
    add_bound,
    alternatives_of,
    condition_of,
    has_few_segments,
    is_costly,
    tells_soon,
)  # fmt: skip
from opssentinal.search.duckdb.rows import SELECTED, event_of
from opssentinal.search.duckdb.segments import SEGMENT_BITS, Absent, Known, Segments, Trace
from opssentinal.search.interruption import Interruption

_FEW_ROWS: Final = 2_000
# More events than this are counted where they are rather than copied first, unless finding them costs more than copying.
_KEPT_EVENTS_MAX: Final = 20_000
# Value and label of a facet, both columns of `event`.
_FACETS: Final[dict[str, tuple[str, str | None]]] = {
    "action": ("action", None),
    "outcome": ("outcome", None),
    "source": ("source", None),
    "tenant": ("tenant", None),
    "actor": ("actor_id", "actor_name"),
    "actor_type": ("actor_type", None),
    "target": ("target_id", "target_name"),
    "target_type": ("target_type", None),
    "ip": ("ip", None),
    "ua": ("user_agent", None),
}
# Further targets as [type, id, name, email], places counted from 1: value and label.
_MORE_FACETS: Final[dict[str, tuple[int, int | None]]] = {"target": (2, 3), "target_type": (1, None)}


class Lasting(NamedTuple):
    """What was found out of a store and holds for its later moments too."""

    known: Known
    span: scanning.Span


class Questions:
    """Questions of one moment: the cursor's transaction."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, stop: Interruption, lasting: Lasting) -> None:
        self._cursor = cursor
        self._stop = stop
        self._found: dict[tuple[Any, ...], list[int]] = {}
        self._folded: dict[str, Folded] = {}
        self._lasting = lasting
        self._extents: dict[tuple[Any, ...], Extent] = {}

    def page(self, filter: Filter, limit: int, after: Position | None, order: Order, head: int | None) -> Page:
        """See SearchStore.page."""
        _check_between("limit", limit, PAGE_EVENTS_MAX)
        newest = order == "newest"
        position = self._position
        head = position if head is None else head
        scan = self._scan(filter, limit + 1, after, newest=newest, head=head if head < position else None)
        places = scan.places[:limit]
        found = self._events(places)
        events = [found[seq] for _, seq, _ in places]
        more = len(scan.places) > limit
        next_ = Position(*places[-1][:2]) if more else scan.stopped_at
        return Page(events, next_, head, complete=head <= position, partial=not more and next_ is not None)

    def _scan(
        self, filter: Filter, count: int, after: Position | None, *, newest: bool, head: int | None
    ) -> scanning.Scan:
        """The first `count` places. `head` is None at the head of the index itself, beyond which nothing is: the engine is
        spared a comparison with every row."""

        def conditions(part: Filter, skips: bool = True) -> list[Condition]:
            made = alternatives_of(part, self, head=head, skips=skips)
            if after is not None:
                for each in made:
                    add_bound(each, after, newest=newest)
            return made

        total, first, last = self._lasting.span.until(self._rows, self._position)
        if total < scanning.PORTIONS_FROM_ROWS:
            return scanning.scan(self._rows, conditions(filter), count, newest=newest)
        spacing_us = (last - first) / total
        if filter.after is not None:
            first = max(first, to_us(filter.after))
        if filter.before is not None:
            last = min(last, to_us(filter.before) - 1)
        if after is not None:
            first, last = (
                (first, min(last, after.occurred_at_us)) if newest else (max(first, after.occurred_at_us), last)
            )

        def skips(is_early: bool) -> bool:
            # What is frequent is found in the first portions, sooner than where it may be.
            return not is_early or tells_soon(filter)

        def within(begin_us: int, end_us: int, is_early: bool) -> list[Condition]:
            return conditions(filter.between(from_us(begin_us), from_us(end_us + 1)), skips(is_early))

        def is_little(is_early: bool) -> bool:
            return skips(is_early) and has_few_segments(filter, self)

        return scanning.scan_in_portions(
            self._rows,
            within,
            is_little,
            (first, last),
            spacing_us,
            count,
            newest=newest,
            may_be_frequent=not tells_soon(filter),
        )

    def overview(
        self, filter: Filter, fields: Sequence[str], values: int, buckets: int, tz: str, head: int | None
    ) -> Overview:
        """See SearchStore.overview."""
        condition = condition_of(filter, self, head=head)
        hits = self._kept_hits(filter, condition, fields)
        over, table = (Condition(), hits) if hits else (condition, "event")
        extent = self._extent(over, table)
        histogram = self._histogram(filter, over, extent, buckets, tz, table)
        return Overview(self._facets(filter, fields, values, head, hits), histogram, extent)

    def facets(
        self, filter: Filter, fields: Sequence[str], values: int, head: int | None
    ) -> dict[str, list[FacetValue]]:
        """See SearchStore.facets."""
        hits = self._kept_hits(filter, condition_of(filter, self, head=head), fields) if len(fields) > 1 else None
        return self._facets(filter, fields, values, head, hits)

    def histogram(self, filter: Filter, buckets: int, tz: str, head: int | None) -> Histogram:
        """See SearchStore.histogram."""
        condition = condition_of(filter, self, head=head)
        is_open = filter.after is None or filter.before is None
        extent = self._extent(condition) if is_open else Extent(None, None, 0)
        return self._histogram(filter, condition, extent, buckets, tz)

    def extent(self, filter: Filter, head: int | None) -> Extent:
        """See SearchStore.extent."""
        return self._extent(condition_of(filter, self, head=head))

    def neighbours(self, seq: int, filter: Filter) -> tuple[int | None, int | None]:
        """See SearchStore.neighbours."""
        places = self._rows("SELECT occurred_us, seq FROM event WHERE seq = ?", [seq])
        if not places:
            raise NotFound(f"There is no event {seq} in the index.")
        found = []
        for newest, direction in ((False, "ASC"), (True, "DESC")):
            condition = condition_of(filter, self)
            add_bound(condition, Position(*places[0]), newest=newest)
            rows = self._rows(
                f"SELECT seq FROM event WHERE {condition.sql} "
                f"ORDER BY occurred_us {direction}, seq {direction} LIMIT 1",
                condition.parameters,
            )
            found.append(rows[0][0] if rows else None)
        return found[0], found[1]

    def seen_actions(self, filter: Filter) -> list[SeenAction]:
        """See SearchStore.seen_actions."""
        condition = condition_of(filter, self)
        rows = self._rows(
            "SELECT action, count(*), min(occurred_us), max(occurred_us) FROM event "
            f"WHERE {condition.sql} GROUP BY action ORDER BY 2 DESC, 1",
            condition.parameters,
        )
        return [SeenAction(action, count, from_us(first), from_us(last)) for action, count, first, last in rows]

    def fold(self, texts: Sequence[str]) -> dict[str, Folded]:
        """Ask the engine for its lower case and its hashes of texts, of each once."""
        if new := [text for text in texts if text not in self._folded]:
            rows = self._rows("SELECT x, lower(x), hash(x), hash(lower(x)) FROM unnest(?) t(x)", [new])
            self._folded |= {text: Folded(lower, hash_, lower_hash) for text, lower, hash_, lower_hash in rows}
        return self._folded

    def few_rows(self, conditions: Sequence[Condition]) -> list[int] | None:
        """See conditions.Engine; each asked once per moment, and none after one that finds many."""
        found: set[int] = set()
        for condition in conditions:
            key = (condition.sql, *condition.parameters)
            if key not in self._found:
                rows = self._rows(
                    f"SELECT rowid FROM event WHERE {condition.sql} LIMIT {_FEW_ROWS + 1}", condition.parameters
                )
                self._found[key] = [row for (row,) in rows]
            found.update(self._found[key])
            if len(found) > _FEW_ROWS:
                return None
        return sorted(found)

    def segments(self, all_of: Sequence[Sequence[Trace]]) -> str:
        """See conditions.Engine."""
        return self._segments.condition(all_of)

    def absent(self, columns: tuple[str, ...], texts: Sequence[str]) -> Absent:
        """See conditions.Engine."""
        return self._segments.absent(columns, texts)

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        self._stop.check()
        return self._cursor.execute(sql, list(parameters)).fetchall()

    @cached_property
    def _segments(self) -> Segments:
        return Segments(self._rows, self._position, self._lasting.known)

    @cached_property
    def _position(self) -> int:
        return int(self._rows("SELECT max(position) FROM meta")[0][0])

    def _events(self, places: Sequence[scanning.Place]) -> dict[int, RecordedEvent]:
        """The events at these places, by seq.

        A join with row numbers, written out, makes the engine open nothing but the blocks they lie in: 8 ms for 50 events
        scattered over a million, where an IN list of seqs takes 37 and a question for each of them 75. Their first and last
        seq, and their segments, where one came long before the others, spare it all other blocks, of which it would begin to
        read every column (3 ms instead of 11 in ten million).
        """
        if not places:
            return {}
        wanted = ", ".join(f"({row:d})" for _, _, row in places)
        seqs = [seq for _, seq, _ in places]
        in_segments = ", ".join(f"{segment:d}" for segment in sorted({seq >> SEGMENT_BITS for seq in seqs}))
        found = self._rows(
            f"SELECT {SELECTED} FROM event JOIN (VALUES {wanted}) wanted(row) ON event.rowid = wanted.row "
            f"WHERE seq BETWEEN {min(seqs):d} AND {max(seqs):d} AND segment IN ({in_segments})"
        )
        return {row[0]: event_of(row) for row in found}

    def _kept_hits(self, filter: Filter, condition: Condition, fields: Sequence[str]) -> str | None:
        """Keep what the counting needs of the events that match, and return the name of that table: the condition is then
        asked once instead of once per field. None where that does not pay: nothing but a time range, or very many events.
        """
        if not filter.terms and not filter.text:
            return None
        if not is_costly(filter) and self._extent(condition).count > _KEPT_EVENTS_MAX:
            return None
        wanted = [column for field in fields if field in _FACETS for column in _FACETS[field] if column is not None]
        if any(field in _MORE_FACETS for field in fields):
            wanted.append("more_targets")
        columns = dict.fromkeys(["occurred_us", "outcome", *wanted])
        self._rows(
            f"CREATE OR REPLACE TEMP TABLE hit AS SELECT {', '.join(columns)} FROM event WHERE {condition.sql}",
            condition.parameters,
        )
        return "hit"

    def _facets(
        self, filter: Filter, fields: Sequence[str], values: int, head: int | None, hits: str | None = None
    ) -> dict[str, list[FacetValue]]:
        _check_between("limit", values, FACET_VALUES_MAX)
        found: dict[str, list[FacetValue]] = {}
        for field in fields:
            if field not in FACET_FIELDS:
                raise InvalidQuery(f"{field} cannot be counted.", hint=f"Countable are {', '.join(FACET_FIELDS)}.")
            if hits is not None and not any(term.field == field for term in filter.terms):
                found[field] = self._facet(field, values, Condition(), hits)
            else:
                found[field] = self._facet(field, values, condition_of(filter, self, head=head, without=(field,)))
        return found

    def _facet(self, field: str, values: int, condition: Condition, table: str = "event") -> list[FacetValue]:
        value, label = _FACETS[field]
        shown = f"any_value({label})" if label else "''"
        source = (
            f"SELECT {value} AS value, {shown} AS label, count(*) AS n FROM {table} WHERE {condition.sql} GROUP BY 1"
        )
        parameters = condition.parameters
        if field in _MORE_FACETS:
            source, parameters = _with_more_targets(field, source, condition, table)
        # "" is left out here and not by the engine, which would compare it with every event (7 ms instead of 2.5).
        rows = self._rows(
            f"SELECT value, label, n FROM ({source}) ORDER BY n DESC, value LIMIT {values + 1}", parameters
        )
        return [FacetValue(value, count, label or None) for value, label, count in rows if value][:values]

    def _extent(self, condition: Condition, table: str = "event") -> Extent:
        """Asked once per moment."""
        key = (table, condition.sql, *condition.parameters)
        if key not in self._extents:
            [(first, last, count)] = self._rows(
                f"SELECT min(occurred_us), max(occurred_us), count(*) FROM {table} WHERE {condition.sql}",
                condition.parameters,
            )
            self._extents[key] = Extent(from_us(first), from_us(last), count) if count else Extent(None, None, 0)
        return self._extents[key]

    def _histogram(
        self, filter: Filter, condition: Condition, extent: Extent, buckets: int, tz: str, table: str = "event"
    ) -> Histogram:
        _check_between("buckets", buckets, BUCKETS_MAX)
        zone = zone_named(tz)
        now = datetime.now(UTC)
        last = max(extent.last, now) if extent.last is not None else now
        end = filter.before or last + timedelta(microseconds=1)
        first = filter.after or extent.first or end - timedelta(days=1)
        first = min(first, end - timedelta(microseconds=1))
        axis = time_axis.axis(to_us(first), to_us(end), buckets, zone)
        counts = self._rows(
            f"SELECT (occurred_us - {axis.starts_us[0]}) // {axis.grain_us} AS grain, outcome, count(*) "
            f"FROM {table} WHERE {condition.sql} GROUP BY ALL",
            condition.parameters,
        )
        return time_axis.histogram(axis, counts, first, end)


def _with_more_targets(field: str, source: str, condition: Condition, table: str) -> tuple[str, list[Any]]:
    """Count further targets too, an event once for each different value of its targets."""
    column, _ = _FACETS[field]
    place, label_place = _MORE_FACETS[field]
    label = f"x[{label_place}]" if label_place else "NULL"
    more = (
        f"SELECT value, any_value(label) AS label, count(*) AS n FROM (SELECT row, x[{place}] AS value, "
        f"coalesce(any_value({label}), '') AS label FROM (SELECT row, own, unnest(xs) AS x FROM (SELECT row_number() OVER () AS row, "
        f"{column} AS own, from_json(more_targets, '[[\"VARCHAR\"]]') AS xs FROM {table} "
        f"WHERE {condition.sql} AND more_targets <> '')) WHERE x[{place}] <> own GROUP BY 1, 2) GROUP BY 1"
    )
    both = f"SELECT value, any_value(label) AS label, sum(n)::BIGINT AS n FROM ({source} UNION ALL {more}) GROUP BY 1"
    return both, condition.parameters * 2


def _check_between(name: str, number: int, most: int) -> None:
    if not 1 <= number <= most:
        raise InvalidQuery(f"{name} must lie between 1 and {most:,}, not {number:,}.")
