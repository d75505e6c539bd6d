"""Ledger lines → rows: the three JSON lines of an event are handed to the engine, which reads them in C++.

Decoding them in Python and passing columns took four times as long. The lines go through a memory file (they hold personal
data, and so are never written to disk outside the ledger and the index).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Final

import duckdb

from opssentinal.events.encoding import is_erased
from opssentinal.ledger.bundle import Bundle
from opssentinal.search.duckdb.schema import (
    AGENT_EMPTY,
    EVENT_COLUMNS,
    FOLDED_FROM,
    MESSAGE_EMPTY,
    WHAT_ERASED,
    WHO_ERASED,
)  # fmt: skip

# An event has 64 KiB at most, its three lines a little more; twice this is the engine's buffer per thread.
_LINE_BYTES_MAX: Final = 1 << 20

_LINE_COLUMNS: Final = (
    "{seq: 'BIGINT', "
    'head: \'STRUCT(id UUID, recorded_at TIMESTAMP, occurred_at TIMESTAMP, "action" VARCHAR, outcome VARCHAR, '
    '"source" VARCHAR, tenant VARCHAR)\', '
    'who: \'STRUCT(actor STRUCT("type" VARCHAR, id VARCHAR, "name" VARCHAR, email VARCHAR), '
    "context STRUCT(ip VARCHAR, user_agent VARCHAR, session_id VARCHAR, request_id VARCHAR, forwarded_for JSON, "
    "api_key VARCHAR))', "
    'what: \'STRUCT(targets STRUCT("type" VARCHAR, id VARCHAR, "name" VARCHAR, email VARCHAR)[], '
    'changes STRUCT(field VARCHAR, "before" JSON, "after" JSON)[], metadata JSON, message VARCHAR)\'}'
)


def _text(expression: str) -> str:
    return f"coalesce({expression}, '')"


def hash16(expression: str, *, folded: bool) -> str:
    """The SQL of the 16 bits of a hash that stand beside a text; 0 beside an empty one, which compresses to nothing."""
    inner = f"lower({expression})" if folded else expression
    return f"(CASE WHEN {expression} = '' THEN 0 ELSE hash({inner}) & 65535 END)::USMALLINT"


_JSON_OR_NULL = "coalesce(to_json({0})::VARCHAR, 'null')"
_ARRAYS = "'[' || array_to_string(list_transform({0}, lambda x: '[' || {1} || ']'), ',') || ']'"
_TARGET_ARRAY = " || ',' || ".join(_JSON_OR_NULL.format(f"x.{name}") for name in ('"type"', "id", '"name"', "email"))
_CHANGE_ARRAY = "to_json(x.field)::VARCHAR || ',' || coalesce(x.\"before\"::VARCHAR, 'null') || ',' || " + (
    "coalesce(x.\"after\"::VARCHAR, 'null')"
)

_ROWS: Final[dict[str, str]] = {
    "seq": "seq",
    "occurred_us": "epoch_us(head.occurred_at)",
    "recorded_us": "epoch_us(head.recorded_at)",
    "id": "head.id",
    "action": "head.action",
    "outcome": "head.outcome",
    "source": "head.source",
    "tenant": _text("head.tenant"),
    "actor_type": _text('who.actor."type"'),
    "actor_id": _text("who.actor.id"),
    "actor_name": _text('who.actor."name"'),
    "actor_email": _text("who.actor.email"),
    "ip": _text("who.context.ip"),
    "user_agent": _text("who.context.user_agent"),
    "session_id": _text("who.context.session_id"),
    "request_id": _text("who.context.request_id"),
    "context_rest": (
        "CASE WHEN who.context.forwarded_for IS NULL AND who.context.api_key IS NULL THEN '' ELSE "
        "'[' || coalesce(who.context.forwarded_for::VARCHAR, 'null') || ',' || "
        + _JSON_OR_NULL.format("who.context.api_key")
        + " || ']' END"
    ),
    "target_type": _text('what.targets[1]."type"'),
    "target_id": _text("what.targets[1].id"),
    "target_name": _text('what.targets[1]."name"'),
    "target_email": _text("what.targets[1].email"),
    "more_targets": (
        "CASE WHEN len(what.targets) > 1 THEN " + _ARRAYS.format("what.targets[2:]", _TARGET_ARRAY) + " ELSE '' END"
    ),
    "changes": "CASE WHEN len(what.changes) > 0 THEN " + _ARRAYS.format("what.changes", _CHANGE_ARRAY) + " ELSE '' END",
    "metadata": "CASE WHEN what.metadata::VARCHAR = '{}' THEN '' ELSE " + _text("what.metadata::VARCHAR") + " END",
    "message": _text("what.message"),
    "marks": (
        f"(CASE WHEN who IS NULL THEN {WHO_ERASED} ELSE 0 END + CASE WHEN what IS NULL THEN {WHAT_ERASED} ELSE 0 END"
        f" + CASE WHEN who.context.user_agent = '' THEN {AGENT_EMPTY} ELSE 0 END"
        f" + CASE WHEN what.message = '' THEN {MESSAGE_EMPTY} ELSE 0 END)::UTINYINT"
    ),
}

# An address as 32 hexadecimal digits: the groups on both sides of "::", zeros between them. An empty side becomes a group of
# zeros, which "::" stands for anyway. A dotted address is IPv4, also at the end of a mapped one; a zone after % is left out.
_GROUPS: Final = "array_to_string(list_transform(string_split({0}, ':'), lambda g: lpad(g, 4, '0')), '')"
_SIDES: Final = "string_split(split_part(ip, '%', 1), '::')"
_LEFT: Final = _GROUPS.format(f"{_SIDES}[1]")
_RIGHT: Final = f"CASE WHEN contains(ip, '::') THEN {_GROUPS.format(f'{_SIDES}[2]')} ELSE '' END"
_V6_DIGITS: Final = f"rpad({_LEFT}, (32 - len({_RIGHT}))::INTEGER, '0') || {_RIGHT}"
_V4: Final = "split_part(split_part(ip, ':', -1), '.', {0})::UBIGINT"
_NUMBERS: Final[dict[str, str]] = {
    "ip_hi": (
        f"CASE WHEN contains(ip, ':') AND NOT contains(ip, '.') THEN ('0x' || left({_V6_DIGITS}, 16))::UBIGINT ELSE 0 END"
    ),
    "ip_lo": (
        f"CASE WHEN ip = '' THEN 0 WHEN contains(ip, '.') THEN {0xFFFF << 32} + {_V4.format(1)} * 16777216 + "
        f"{_V4.format(2)} * 65536 + {_V4.format(3)} * 256 + {_V4.format(4)} "
        f"ELSE ('0x' || right({_V6_DIGITS}, 16))::UBIGINT END"
    ),
}
_HASHES: Final[dict[str, str]] = {
    name: hash16(name.removesuffix("_h"), folded=name.startswith("target"))
    for name in EVENT_COLUMNS
    if name.endswith("_h")
}
_FOLDED: Final = f"lower({' || chr(10) || '.join(FOLDED_FROM)})"

_INSERT: Final = (
    "INSERT INTO event SELECT "
    + ", ".join(f"{(_NUMBERS | _HASHES | {'folded': _FOLDED}).get(name, name)}" for name in EVENT_COLUMNS)
    + " FROM (SELECT "
    + ", ".join(f"{expression} AS {name}" for name, expression in _ROWS.items())
    + " FROM read_json(?, format = 'newline_delimited', auto_detect = false, "
    + f"maximum_object_size = {_LINE_BYTES_MAX}, columns = {_LINE_COLUMNS}))"
)


def insert(connection: duckdb.DuckDBPyConnection, bundles: Sequence[Bundle]) -> int:
    """Add the events of the bundles within the caller's transaction; return how many."""
    count = sum(bundle.count for bundle in bundles if not bundle.is_pruned)
    if not count:
        return 0
    with _memory_file(bundles) as path:
        inserted = connection.execute(_INSERT, [path]).fetchone()
    if not inserted or inserted[0] != count:
        raise RuntimeError(f"the engine read {inserted} of {count} events")
    return count


def _lines(bundle: Bundle) -> bytes:
    """One JSON object per event and line. `heads` lack their closing brace; an erased part's line is its digest, no JSON."""
    seqs = map(b"%d".__mod__, range(bundle.first_seq, bundle.end_seq))
    whos, whats = ([b"null" if is_erased(part) else part for part in parts] for parts in (bundle.whos, bundle.whats))
    return b"".join(
        map(b'{"seq":%b,"head":%b},"who":%b,"what":%b}\n'.__mod__, zip(seqs, bundle.heads, whos, whats, strict=True))
    )


@contextmanager
def _memory_file(bundles: Sequence[Bundle]) -> Iterator[str]:
    """A path under which the engine can read the lines once."""
    with ExitStack() as stack:
        if hasattr(os, "memfd_create"):
            file: IO[bytes] = stack.enter_context(open(os.memfd_create("events"), "wb"))
            path = f"/proc/self/fd/{file.fileno()}"
        else:  # not Linux: a private file, gone at the end
            file = stack.enter_context(tempfile.NamedTemporaryFile())
            path = file.name
        for bundle in bundles:
            if not bundle.is_pruned:
                file.write(_lines(bundle))
        file.flush()
        yield path
