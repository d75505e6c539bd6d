"""Which values stand in which segments, so that a search for what is rare or nowhere leaves out most of the table.

A segment is SEGMENT_SEQS seqs. When one is complete, the table `seen` takes down the different values of its columns that
repeat, as numbers. Dictionaries make comparing them fast, but ten million rows of one still take 30 ms. Targets have too many
values for that: `seen_target` has a bit for each of 2^19 hashes, set where any target's id, name or e-mail has it (a Bloom filter
with one hash). It takes 1.4 bytes per event, and tells of eight segments of ten or more that an absent target is not in them.

What is in either may be more than there is (of events that were forgotten, until the next `rewrite`), never less: whoever
changes the text of a row has to describe its segment again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
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
    "target_email": "(target_email <> '')::UBIGINT",
}
_NUMBERS: Final = {name: number for number, name in enumerate(_VALUES)}
# Columns that `seen` tells the values of.
DESCRIBED: Final = frozenset(_VALUES) - {"more_targets", "target_email"}

# The bits of a hash: the lowest _BIT_BITS say which bit, _WORD_BITS above them which word of a row, _PART_BITS which row.
_BIT_BITS, _WORD_BITS, _PART_BITS = 6, 3, 10
_WORDS: Final = tuple(f"word{number}" for number in range(1 << _WORD_BITS))

TABLES: Final = (
    "seen (segment UINTEGER NOT NULL, field UTINYINT NOT NULL, value UBIGINT)",
    "seen_target (segment UINTEGER NOT NULL, part USMALLINT NOT NULL, "
    + ", ".join(f"{word} UBIGINT NOT NULL" for word in _WORDS)
    + ")",
)
# A list of so few segments is gone through in one question.
_FEW: Final = 16


class Trace(NamedTuple):
    """What tells of a value: the question for the segments that may hold it, and for the number of the column that does."""

    sql: str
    parameters: tuple[Any, ...] = ()


def _trace(columns: tuple[str, ...], test: str, parameters: tuple[Any, ...] = ()) -> Trace:
    """Any of the columns has a `value` in `seen` that meets `test`."""
    fields = ", ".join(f"{_NUMBERS[column]:d}" for column in columns)
    return Trace(
        f"SELECT DISTINCT segment, field FROM seen WHERE field IN ({fields}) AND ({test} OR value IS NULL)", parameters
    )


MORE_TARGETS: Final = _trace(("more_targets",), "value = 1")
TARGET_EMAILS: Final = _trace(("target_email",), "value = 1")


def trace_of_texts(columns: tuple[str, ...], texts: Sequence[str]) -> Trace:
    """Any of the columns is one of the texts, but for case."""
    return _trace(columns, f"value IN ({', '.join(['hash(lower(?))'] * len(texts))})", tuple(texts))


def trace_of_targets(hashes: Sequence[int]) -> Trace:
    """A target's id, name or e-mail has one of these hashes in lower case; further targets are MORE_TARGETS."""
    tests, parameters = [], []
    for hash_ in hashes:
        word = _WORDS[hash_ >> _BIT_BITS & (1 << _WORD_BITS) - 1]
        tests.append(f"(part = ?::USMALLINT AND {word} & ?::UBIGINT <> 0)")
        parameters += [
            hash_ >> _BIT_BITS + _WORD_BITS & (1 << _PART_BITS) - 1,
            1 << (hash_ & (1 << _BIT_BITS) - 1),
        ]
    return Trace(f"SELECT segment, NULL FROM seen_target WHERE {' OR '.join(tests)}", tuple(parameters))


def trace_of_range(column: str, first: int, last: int) -> Trace:
    """The column's number lies between these, both included."""
    return _trace((column,), "value BETWEEN ?::UBIGINT AND ?::UBIGINT", (first, last))


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
        # Last what tells that a segment is described.
        connection.execute(_marking_targets(prefix, segment))
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


def _marking_targets(prefix: str, segment: int) -> str:
    """The SQL that sets the bits of a segment's targets: words first, then rows of words."""
    hashes = " UNION ALL ".join(
        f"SELECT hash(lower({column})) AS h FROM {prefix}event WHERE segment = {segment:d}"
        for column in ("target_id", "target_name", "target_email")
    )
    words = (
        f"SELECT h >> {_BIT_BITS} & {(1 << _WORD_BITS + _PART_BITS) - 1} AS place, "
        f"bit_or(1::UBIGINT << (h & {(1 << _BIT_BITS) - 1})) AS word FROM ({hashes}) GROUP BY 1"
    )
    row = ", ".join(
        f"coalesce(max(word) FILTER (place & {(1 << _WORD_BITS) - 1} = {number}), 0)" for number in range(len(_WORDS))
    )
    return (
        f"INSERT INTO {prefix}seen_target SELECT {segment:d}, (place >> {_WORD_BITS})::USMALLINT AS part, {row} "
        f"FROM ({words}) GROUP BY part ORDER BY part"
    )


def is_few(condition: str) -> bool:
    """Whether a condition of Segments leaves so little that it is gone through in one question."""
    return bool(condition) and condition.count(",") < _FEW


# Answers about columns as a whole, which hold as long as as many segments are described: that is the number beside the question.
Known = dict[tuple[int, Trace], frozenset[tuple[int, int | None]]]


class Absent(NamedTuple):
    """Columns that have none of some texts, except in the segments that the condition names, which are not described yet."""

    columns: frozenset[str]
    unless: str


class Segments:
    """What `seen` says at one moment; each question is asked once, and one without a value is `known` to all moments."""

    def __init__(self, rows: Callable[[str, Sequence[Any]], list[Any]], position: int, known: Known) -> None:
        self._rows = rows
        self._known = known
        self._count = (position >> SEGMENT_BITS) + 1
        self._asked: dict[Trace, frozenset[tuple[int, int | None]]] = {}

    def condition(self, all_of: Sequence[Sequence[Trace]]) -> str:
        """The SQL that leaves out segments without any event that meets one trace of each; "" where that would not pay."""
        if self._count == 1 or not all_of:
            return ""
        left = frozenset.intersection(*map(self._holding, all_of)) | self._tail()
        if len(left) > max(self._count * _PART_MAX, 1):
            return ""
        return _in_segments(left)

    def absent(self, columns: tuple[str, ...], texts: Sequence[str]) -> Absent:
        """Those of the columns, all DESCRIBED, that have none of the texts, whatever their case."""
        if self._described == 0:
            return Absent(frozenset(), "")
        found = {field for _, field in self._answer(trace_of_texts(columns, texts))}
        return Absent(
            frozenset(column for column in columns if _NUMBERS[column] not in found), _in_segments(self._tail())
        )

    def _holding(self, any_of: Sequence[Trace]) -> frozenset[int]:
        return frozenset(segment for trace in any_of for segment, _ in self._answer(trace))

    def _answer(self, trace: Trace) -> frozenset[tuple[int, int | None]]:
        """Segments, each with the number of the column that may hold it there."""
        if trace not in self._asked:
            key = (self._described, trace)
            found = self._known.get(key)
            if found is None:
                found = frozenset(self._rows(*trace))
                if not trace.parameters:
                    for other in [each for each in list(self._known) if each[0] < self._described]:
                        self._known.pop(other, None)
                    self._known[key] = found
            self._asked[trace] = found
        return self._asked[trace]

    def _tail(self) -> frozenset[int]:
        """The segments that are not described: the last one, and one or two before it."""
        return frozenset(range(self._described, self._count))

    @cached_property
    def _described(self) -> int:
        """How many segments are described, from the first."""
        [(first,)] = self._rows("SELECT coalesce(max(segment) + 1, 0) FROM seen", [])
        return int(first)


def _in_segments(segments: frozenset[int]) -> str:
    return f"segment IN ({', '.join(f'{segment:d}' for segment in sorted(segments))})"
