"""Which values stand in which segments, so that a search for what is rare or nowhere leaves out most of the table.

A segment is SEGMENT_SEQS seqs. When one is complete, the table `seen` takes down the different values of its columns that
repeat, as numbers. Dictionaries make comparing them fast, but ten million rows of one still take 30 ms.

What is in `seen` may be more than there is (of events that were forgotten, until the next `rewrite`), never less: whoever
changes the text of a row has to describe its segment again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import duckdb

SEGMENT_BITS: Final = 16
SEGMENT_SEQS: Final = 1 << SEGMENT_BITS
# A column of more values in a segment is only said to hold anything, by NULL. Bounds `seen` to 3 bytes per event; 0.3 are usual.
VALUES_MAX: Final = 2_048
# A column that had too many values in the segment before is counted again only now and then: that costs most where it is in vain.
_TRIED_EVERY: Final = 16
# A longer list of segments would leave out too little: the blocks that the engine skips are twice as long as a segment.
_PART_MAX: Final = 0.25

_TEXTS: Final = (
    "action", "source", "tenant", "actor_type", "actor_id", "actor_name", "actor_email", "user_agent", "target_type",
)  # fmt: skip
# What stands in `seen` for a column, whose number is its place here.
_VALUES: Final[dict[str, str]] = {
    **{name: f"hash(lower({name}))" for name in _TEXTS},
    "ip_hi": "ip_hi",
    "ip_lo": "ip_lo",
    "more_targets": "(more_targets <> '')::UBIGINT",
}
_NUMBERS: Final = {name: number for number, name in enumerate(_VALUES)}
DESCRIBED: Final = frozenset(_VALUES)

TABLE: Final = "seen (segment UINTEGER NOT NULL, field UTINYINT NOT NULL, value UBIGINT)"


class Trace(NamedTuple):
    """What in `seen` tells of a value: any of these columns has a `value` that meets `test`."""

    columns: tuple[str, ...]
    test: str
    parameters: tuple[Any, ...] = ()


MORE_TARGETS: Final = Trace(("more_targets",), "value = 1")


def trace_of_texts(columns: tuple[str, ...], texts: Sequence[str]) -> Trace:
    """Any of the columns is one of the texts, but for case."""
    return Trace(columns, f"value IN ({', '.join(['hash(lower(?))'] * len(texts))})", tuple(texts))


def trace_of_range(column: str, first: int, last: int) -> Trace:
    """The column's number lies between these, both included."""
    return Trace((column,), "value BETWEEN ?::UBIGINT AND ?::UBIGINT", (first, last))


def describe(connection: duckdb.DuckDBPyConnection, position: int, catalog: str = "") -> None:
    """Take down what stands in each segment that is complete at `position` and not described yet.

    Belongs after a checkpoint: columns that are compressed are read in half the time.
    """
    prefix = f"{catalog}." if catalog else ""
    [(first,)] = connection.execute(f"SELECT coalesce(max(segment) + 1, 0) FROM {prefix}seen").fetchall()
    found = connection.execute(
        f"SELECT DISTINCT segment FROM {prefix}event WHERE segment >= ?::UINTEGER AND segment < ?::UINTEGER ORDER BY 1",
        [first, position >> SEGMENT_BITS],
    ).fetchall()
    for (segment,) in found:
        hopeless = set()
        if segment % _TRIED_EVERY:
            crowded = f"SELECT field FROM {prefix}seen WHERE segment = {segment - 1:d} AND value IS NULL"
            hopeless = {field for (field,) in connection.execute(crowded).fetchall()}
        connection.execute(_taking_down(prefix, segment, hopeless))


def _taking_down(prefix: str, segment: int, hopeless: set[int]) -> str:
    """The SQL of one pass over a segment: a question per column would cost more to plan than to answer."""
    anything = "[NULL::UBIGINT]"
    found = ", ".join(
        f"{anything if number in hopeless else f'list(DISTINCT {_VALUES[name]})'} AS {name}"
        for name, number in _NUMBERS.items()
    )
    columns = ", ".join(f"{{field: {number:d}, found: {name}}}" for name, number in _NUMBERS.items())
    return (
        f"INSERT INTO {prefix}seen SELECT {segment:d}, x.field, "
        f"unnest(CASE WHEN len(x.found) <= {VALUES_MAX} THEN x.found ELSE {anything} END) FROM ("
        f"SELECT unnest([{columns}]) AS x FROM (SELECT {found} FROM {prefix}event WHERE segment = {segment:d}))"
    )


class Segments:
    """What `seen` says at one moment; each question is asked once."""

    def __init__(self, rows: Callable[[str, Sequence[Any]], list[Any]], position: int) -> None:
        self._rows = rows
        self._count = (position >> SEGMENT_BITS) + 1
        self._asked: dict[Trace, frozenset[int]] = {}
        self._undescribed: frozenset[int] | None = None

    def condition(self, all_of: Sequence[Sequence[Trace]]) -> str:
        """The SQL that leaves out segments without any event that meets one trace of each; "" where that would not pay."""
        if self._count == 1 or not all_of:
            return ""
        left = frozenset.intersection(*(self._holding(any_of) for any_of in all_of)) | self._tail()
        if len(left) > max(self._count * _PART_MAX, 1):
            return ""
        return f"segment IN ({', '.join(f'{segment:d}' for segment in sorted(left))})"

    def _holding(self, any_of: Sequence[Trace]) -> frozenset[int]:
        return frozenset.union(*map(self._segments, any_of))

    def _segments(self, trace: Trace) -> frozenset[int]:
        if trace not in self._asked:
            fields = ", ".join(f"{_NUMBERS[column]:d}" for column in trace.columns)
            rows = self._rows(
                f"SELECT DISTINCT segment FROM seen WHERE field IN ({fields}) AND ({trace.test} OR value IS NULL)",
                trace.parameters,
            )
            self._asked[trace] = frozenset(segment for (segment,) in rows)
        return self._asked[trace]

    def _tail(self) -> frozenset[int]:
        """The segments that are not described: the last one, and one or two before it."""
        if self._undescribed is None:
            [(first,)] = self._rows("SELECT coalesce(max(segment) + 1, 0) FROM seen", [])
            self._undescribed = frozenset(range(first, self._count))
        return self._undescribed
