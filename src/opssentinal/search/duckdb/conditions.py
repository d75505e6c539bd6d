"""Filter → SQL condition with parameters: how this store reads `opssentinal.query.Filter`.

No value ever becomes part of the SQL text. No column is NULL, so NOT needs no thought.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from opssentinal.events.catalogue import SENSITIVE_ACTIONS, actions_in
from opssentinal.events.model import to_us
from opssentinal.query import FIELDS, Filter, Phrase, Term, pieces
from opssentinal.search.answers import Position
from opssentinal.search.duckdb.schema import FOLDED_FROM
from opssentinal.search.duckdb.segments import (
    DESCRIBED,
    MORE_TARGETS,
    TARGET_EMAILS,
    Absent,
    Trace,
    is_few,
    trace_of_range,
    trace_of_targets,
    trace_of_texts,
)  # fmt: skip

_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "actor": ("actor_id", "actor_name", "actor_email"),
    "actor_type": ("actor_type",),
    "action": ("action",),
    "outcome": ("outcome",),
    "target": ("target_id", "target_name", "target_email"),
    "target_type": ("target_type",),
    "ua": ("user_agent",),
    "session": ("session_id",),
    "request": ("request_id",),
    "source": ("source",),
    "tenant": ("tenant",),
}
# Places in the arrays of `more_targets`, counted from 1: [type, id, name, email].
_MORE_TARGETS: Final[dict[str, tuple[int, ...]]] = {"target": (2, 3, 4), "target_type": (1,)}
# Searchable texts that repeat; the others are FOLDED_FROM, three of which are JSON.
_REPEATING: Final = ("action", "actor_name", "actor_email", "actor_id", "ip", "user_agent", "target_type")
_JSON_COLUMNS: Final = frozenset(("more_targets", "changes", "metadata"))
_HASHED: Final = frozenset(("target_id", "target_name", "target_email", "session_id", "request_id"))

# A condition, in brackets where it needs them, and its parameters.
Option = tuple[str, list[Any]]


class Folded(NamedTuple):
    """A text in lower case as the engine writes it, and the hashes of the text and of its lower case."""

    lower: str
    hash: int
    lower_hash: int


class Engine(Protocol):
    """What compiling needs to ask the engine."""

    def fold(self, texts: Sequence[str]) -> dict[str, Folded]:
        """The texts in its lower case, with their hashes."""

    def few_rows(self, conditions: Sequence[Condition]) -> list[int] | None:
        """The numbers of the rows that meet any of the conditions, if they are few enough to be written out; else None."""

    def segments(self, all_of: Sequence[Sequence[Trace]]) -> str:
        """See segments.Segments.condition."""

    def absent(self, columns: tuple[str, ...], texts: Sequence[str]) -> Absent:
        """See segments.Segments.absent."""


class Condition:
    """A growing AND of SQL conditions and their parameters, in order."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.parameters: list[Any] = []

    def add(self, sql: str, *parameters: Any) -> None:
        """Require `sql` too."""
        self._parts.append(sql)
        self.parameters += parameters

    @property
    def sql(self) -> str:
        """The whole condition; `true` where nothing is required."""
        return " AND ".join(self._parts) or "true"


def condition_of(filter: Filter, engine: Engine, *, head: int | None = None, without: Iterable[str] = ()) -> Condition:
    """The condition of a filter, of events below `head`; terms of the fields `without` are left out."""
    terms = [term for term in filter.terms if term.field not in without]
    return _Compiler(engine, filter, terms, skips=True).condition(head, terms)


def alternatives_of(filter: Filter, engine: Engine, *, head: int | None, skips: bool) -> list[Condition]:
    """Conditions one of which every event of the filter meets; `skips` says whether to leave out segments without any.

    More than one where one question each is faster: each reads first the hashes of its column, which tell most rows off, and
    the text only where they agree, while a question with OR unpacks every column (60 ms instead of 9 in a million).
    """
    compiler = _Compiler(engine, filter, filter.terms, skips=skips)
    hashed = next((term for term in filter.terms if _is_hashed(term)), None)
    if hashed is None:
        return [compiler.condition(head, filter.terms)]
    others = [term for term in filter.terms if term is not hashed]
    return [compiler.condition(head, others, option) for option in compiler.targets(hashed)]


def has_few_segments(filter: Filter, engine: Engine) -> bool:
    """Whether the events of the filter are in so few segments that one question finds them all."""
    return is_few(engine.segments(_traces_of(filter.terms, engine.fold(_texts(filter.terms, ())))))


def tells_soon(filter: Filter) -> bool:
    """Whether it is worth asking for the segments before anything else: for targets, which are rare in any portion of time."""
    return any(map(_is_hashed, filter.terms))


def _add_time_range(condition: Condition, filter: Filter) -> None:
    if filter.after is not None:
        condition.add("occurred_us >= ?", to_us(filter.after))
    if filter.before is not None:
        condition.add("occurred_us < ?", to_us(filter.before))


def add_bound(condition: Condition, after: Position, *, newest: bool) -> None:
    """Require events that come after a place in the order. The first condition is what the engine prunes blocks by."""
    sign = "<" if newest else ">"
    condition.add(
        f"occurred_us {sign}= ? AND (occurred_us {sign} ? OR seq {sign} ?)",
        after.occurred_at_us, after.occurred_at_us, after.seq,
    )  # fmt: skip


def is_costly(filter: Filter) -> bool:
    """Whether the condition has to look into texts, so that asking it once and keeping the hits is cheaper."""
    return bool(filter.text) or any(
        len(pieces(value)) > 1 for term in filter.terms if FIELDS[term.field].wildcards for value in term.values
    )


def _texts(terms: Sequence[Term], phrases: Sequence[Phrase]) -> list[str]:
    """Every piece of text that the compiler will ask about, also as it stands in JSON."""
    values = [value for term in terms for value in term.values]
    plain = {piece for value in (*values, *(phrase.value for phrase in phrases)) for piece in ("", *pieces(value))}
    return list(plain | {in_json(piece) for piece in plain})


def in_json(text: str) -> str:
    """The text as it stands within a JSON string."""
    return msgspec.json.encode(text).decode()[1:-1]


def _is_hashed(term: Term) -> bool:
    """Whether hashes find the term's values, each column by itself."""
    return term.field == "target" and not term.negated and all(len(pieces(value)) == 1 for value in term.values)


class _Compiler:
    """Compiles parts of a filter; `terms` are those of its terms that the conditions will require, in whatever way."""

    def __init__(self, engine: Engine, filter: Filter, terms: Sequence[Term], *, skips: bool) -> None:
        self._engine = engine
        self._filter = filter
        self._folded = engine.fold(_texts(terms, filter.text))
        self._skips = skips
        self._segments = engine.segments(_traces_of(terms, self._folded) if skips else [])

    def condition(self, head: int | None, terms: Sequence[Term], option: Option | None = None) -> Condition:
        """The whole condition of events below `head`, with these terms and, in place of another one, an option of it."""
        condition = self._within()
        if head is not None:
            condition.add("seq < ?", head)
        if option is not None:
            condition.add(option[0], *option[1])
        for term in terms:
            sql, parameters = self.term(term)
            condition.add(f"NOT {sql}" if term.negated else sql, *parameters)
        for phrase in self._filter.text:
            sql, parameters = self.phrase(phrase)
            condition.add(f"NOT {sql}" if phrase.negated else sql, *parameters)
        return condition

    def _within(self) -> Condition:
        """The time range, and the segments that come into question."""
        condition = Condition()
        _add_time_range(condition, self._filter)
        if self._segments:
            condition.add(self._segments)
        return condition

    def term(self, term: Term) -> Option:
        """One of the term's values."""
        match term.field:
            case "category":
                return _one_of("action", [action for category in term.values for action in actions_in(category)])
            case "is":
                return _one_of("action", sorted(SENSITIVE_ACTIONS))
            case "ip":
                return _any(_network(value) for value in term.values)
            case "id":
                return f"id IN ({_marks(term.values)})".replace("?", "?::UUID"), list(term.values)
        columns = _COLUMNS[term.field]
        fold = FIELDS[term.field].folds_case
        exact = [pieces(value)[0] for value in term.values if len(pieces(value)) == 1]
        patterns = [pieces(value) for value in term.values if len(pieces(value)) > 1]
        if _is_hashed(term):
            return self._few(self.targets(term))
        options: list[Option] = []
        if exact:
            options += self._equal_in(columns, exact, fold=fold)
        for parts in patterns:
            options += [self._like(column, parts, fold=fold) for column in columns]
        if places := _MORE_TARGETS.get(term.field):
            options += [self._more_targets(pieces(value), places) for value in term.values]
        return _any(options)

    def targets(self, term: Term) -> list[Option]:
        """The ways to be one of the term's values, for a term that _is_hashed."""
        exact = [pieces(value)[0] for value in term.values]
        more, parameters = _any(self._more_targets((text,), _MORE_TARGETS["target"]) for text in exact)
        *mostly, email = (self._equal(column, exact, fold=True) for column in _COLUMNS["target"])
        if seldom := self._engine.segments([[MORE_TARGETS, TARGET_EMAILS]]):
            # Where hardly a target has an e-mail or another beside it, one question looks for both, once if it finds nothing.
            both = f"({seldom} AND ({email[0]} OR (more_targets <> '' AND {more})))", [*email[1], *parameters]
            anywhere = Condition()
            anywhere.add(both[0], *both[1])
            is_absent = is_few(seldom) and self._engine.few_rows([anywhere]) == []
            return mostly if is_absent else [*mostly, both]
        where = self._engine.segments([[MORE_TARGETS]]) or "true"
        return [*mostly, email, (f"({where} AND more_targets <> '' AND {more})", parameters)]

    def phrase(self, phrase: Phrase) -> Option:
        """The phrase in any searchable text."""
        plain = ("", *pieces(phrase.value), "")
        escaped = tuple(map(in_json, plain))
        repeating = _any(self._like(column, plain, fold=True) for column in _REPEATING)
        # One text in lower case is looked through instead of the seven it is made of (25 ms in a million).
        texts = {max(plain, key=len), max(escaped, key=len)}
        sql, parameters = _any(("contains(folded, ?)", [self._folded[text].lower]) for text in sorted(texts))
        if len(plain) > 3 or len(texts) > 1:
            # It may agree where no text does: pieces may stand in two texts, and JSON escapes what plain text does not.
            certain, more = _any(
                self._like(column, escaped if column in _JSON_COLUMNS else plain, fold=True) for column in FOLDED_FROM
            )
            sql, parameters = f"({sql} AND {certain})", [*parameters, *more]
        return _any([repeating, (sql, parameters)])

    def _few(self, options: Sequence[Option]) -> Option:
        """One of the options: as the rows they find, one question each, unless those are many."""
        conditions = []
        for sql, parameters in options:
            conditions.append(self._within())
            conditions[-1].add(sql, *parameters)
        rows = self._engine.few_rows(conditions)
        if rows is None:
            return _any(options)
        return _rows(rows)

    def _equal_in(self, columns: tuple[str, ...], texts: Sequence[str], *, fold: bool) -> list[Option]:
        """One of the texts in one of the columns, leaving out those in which they are nowhere: to read one dictionary takes less
        than half of what three take with OR (25 ms instead of 60 in ten million), unless most segments are left out anyway."""
        options = {column: self._equal(column, texts, fold=fold) for column in columns}
        if len(columns) == 1 or not self._skips or self._segments or not DESCRIBED.issuperset(columns):
            return list(options.values())
        absent = self._engine.absent(columns, texts)
        conditions = {column: Condition() for column in absent.columns}
        for column, condition in conditions.items():
            condition.add(f"{absent.unless} AND {options[column][0]}", *options[column][1])
        rows = self._engine.few_rows(list(conditions.values()))
        if rows is None:
            return list(options.values())
        left = [option for column, option in options.items() if column not in absent.columns]
        return [*left, _rows(rows)] if rows or not left else left

    def _equal(self, column: str, texts: Sequence[str], *, fold: bool) -> Option:
        folded = [self._folded[text] for text in texts]
        wanted = [each.lower for each in folded] if fold else list(texts)
        sql, parameters = _one_of(f"lower({column})" if fold else column, wanted)
        if column not in _HASHED:
            return sql, parameters
        hashes = sorted({(each.lower_hash if fold else each.hash) & 65535 for each in folded})
        return f"({_one_of(f'{column}_h', hashes, 'USMALLINT')[0]} AND {sql})", [*hashes, *parameters]

    def _like(self, column: str, parts: tuple[str, ...], *, fold: bool) -> Option:
        """The column matches a pattern of more than one piece; the engine is fastest with its own words for the common."""
        if not any(parts):
            return f"{column} <> ''", []
        if fold:
            parts = tuple(self._folded[part].lower for part in parts)
            column = f"lower({column})"
        match parts:
            case (prefix, ""):
                return f"starts_with({column}, ?)", [prefix]
            case ("", suffix):
                return f"ends_with({column}, ?)", [suffix]
            case ("", piece, ""):
                return f"contains({column}, ?)", [piece]
        pattern = "%".join(part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for part in parts)
        return f"{column} LIKE ? ESCAPE '\\'", [pattern]

    def _more_targets(self, parts: tuple[str, ...], places: Sequence[int]) -> Option:
        """A further target matches: the array is only read where its text holds the longest piece."""
        longest = max(parts, key=len)
        if len(parts) == 1:
            test, wanted = "= ?", [self._folded[parts[0]].lower]
        else:
            lowered = [self._folded[part].lower for part in parts]
            escaped = [part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for part in lowered]
            test, wanted = "LIKE ? ESCAPE '\\'", ["%".join(escaped)]
        tests = " OR ".join(f"lower(x[{place}]) {test}" for place in places)
        sql = (
            "(CASE WHEN more_targets <> '' AND contains(lower(more_targets), ?) THEN coalesce(list_bool_or("
            f"list_transform(from_json(more_targets, '[[\"VARCHAR\"]]'), lambda x: coalesce({tests}, false))), false) "
            "ELSE false END)"
        )
        return sql, [self._folded[in_json(longest)].lower, *wanted * len(places)]


def _traces_of(terms: Sequence[Term], folded: dict[str, Folded]) -> list[list[Trace]]:
    return [traces for term in terms if (traces := _traces(term, folded))]


def _traces(term: Term, folded: dict[str, Folded]) -> list[Trace]:
    """What tells the segments that may hold a value of the term; nothing where nothing does."""
    if term.negated:
        return []
    if _is_hashed(term):
        return [trace_of_targets([folded[pieces(value)[0]].lower_hash for value in term.values]), MORE_TARGETS]
    match term.field:
        case "category":
            return [
                trace_of_texts(("action",), [action for category in term.values for action in actions_in(category)])
            ]
        case "is":
            return [trace_of_texts(("action",), sorted(SENSITIVE_ACTIONS))]
        case "ip":
            return [trace_of_range(*_bounds(ipaddress.ip_network(value))) for value in term.values]
    columns = _COLUMNS.get(term.field, ())
    exact = [pieces(value)[0] for value in term.values if len(pieces(value)) == 1]
    if not columns or not DESCRIBED.issuperset(columns) or len(exact) < len(term.values):
        return []
    return [trace_of_texts(columns, exact), *([MORE_TARGETS] if term.field in _MORE_TARGETS else [])]


def _bounds(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[str, int, int]:
    """The half that tells the network from others, and its bounds; see `schema` for how addresses are numbers."""
    first, last = int(network.network_address), int(network.broadcast_address)
    if isinstance(network, ipaddress.IPv4Network):
        return "ip_lo", first + (0xFFFF << 32), last + (0xFFFF << 32)
    if network.prefixlen <= 64:
        return "ip_hi", first >> 64, last >> 64
    low = 2**64 - 1
    return "ip_lo", first & low, last & low


def _network(value: str) -> Option:
    """An address or network as bounds of the two halves of the number."""
    network = ipaddress.ip_network(value)
    column, first, last = _bounds(network)
    within = f"{column} BETWEEN ?::UBIGINT AND ?::UBIGINT"
    if isinstance(network, ipaddress.IPv4Network):
        return f"(ip_hi = 0 AND {within})", [first, last]
    not_v4 = "NOT (ip_hi = 0 AND ip_lo BETWEEN 281470681743360 AND 281474976710655)"  # ::ffff:0:0/96
    if column == "ip_hi":
        return f"({within} AND ip <> '' AND {not_v4})", [first, last]
    high = int(network.network_address) >> 64
    return f"(ip_hi = ?::UBIGINT AND {within} AND ip <> '' AND {not_v4})", [high, first, last]


def _rows(numbers: Sequence[int]) -> Option:
    """One of the rows with these numbers."""
    return f"rowid IN (SELECT unnest([{', '.join(f'{row:d}' for row in numbers)}]))" if numbers else "false", []


def _one_of(expression: str, values: Sequence[Any], type_: str = "") -> Option:
    """Numbers need the column's type: the engine would convert every row rather than the number, and skip no block."""
    mark = f"?::{type_}" if type_ else "?"
    if len(values) == 1:
        return f"{expression} = {mark}", list(values)
    return f"{expression} IN ({', '.join([mark] * len(values))})", list(values)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _any(options: Iterable[Option]) -> Option:
    options = list(options)
    return "(" + " OR ".join(sql for sql, _ in options) + ")", [each for _, values in options for each in values]
