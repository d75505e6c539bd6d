"""Ledger lines → rows: the three JSON lines of an event are handed to the engine, which reads them in C++.

Decoding them in Python and passing columns took four times as long. The lines go through a memory file (they hold personal
data, and so are never written to disk outside the ledger and the index).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import IO, Final, NamedTuple

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
from opssentinal.search.duckdb.segments import SEGMENT_BITS

# What one statement takes in, one bundle more at most: planning it takes 10 ms, and its text is held a few times over.
EVENTS_AT_ONCE: Final = 40_960
TEXT_BYTES_AT_ONCE: Final = 24 << 20
# An event has 64 KiB at most, its three lines a little more; twice this is the engine's buffer per thread.
_LINE_BYTES_MAX: Final = 1 << 20

_LINE_COLUMNS: Final = (
    "{seq: 'BIGINT', id: 'UUID', recorded_at: 'TIMESTAMP', occurred_at: 'TIMESTAMP', action: 'VARCHAR', "
    "outcome: 'VARCHAR', source: 'VARCHAR', tenant: 'VARCHAR', "
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


_TARGETS = 'to_json(list_transform(what.targets[2:], lambda x: [x."type", x.id, x."name", x.email]))::VARCHAR'
# Piece by piece, so that the text of values stays as it was recorded.
_CHANGES = (
    "'[' || array_to_string(list_transform(what.changes, lambda x: '[' || to_json(x.field)::VARCHAR || ',' || "
    "coalesce(x.\"before\"::VARCHAR, 'null') || ',' || coalesce(x.\"after\"::VARCHAR, 'null') || ']'), ',') || ']'"
)

_ROWS: Final[dict[str, str]] = {
    "seq": "seq",
    "segment": f"(seq >> {SEGMENT_BITS})::UINTEGER",
    "occurred_us": "epoch_us(occurred_at)",
    "recorded_us": "epoch_us(recorded_at)",
    "id": "id",
    "action": "action",
    "outcome": "outcome",
    "source": "source",
    "tenant": _text("tenant"),
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
        "coalesce(to_json(who.context.api_key)::VARCHAR, 'null') || ']' END"
    ),
    "target_type": _text('what.targets[1]."type"'),
    "target_id": _text("what.targets[1].id"),
    "target_name": _text('what.targets[1]."name"'),
    "target_email": _text("what.targets[1].email"),
    "more_targets": f"CASE WHEN len(what.targets) > 1 THEN {_TARGETS} ELSE '' END",
    "changes": f"CASE WHEN len(what.changes) > 0 THEN {_CHANGES} ELSE '' END",
    "metadata": "CASE WHEN what.metadata::VARCHAR = '{}' THEN '' ELSE " + _text("what.metadata::VARCHAR") + " END",
    "message": _text("what.message"),
    "marks": (
        f"(CASE WHEN who IS NULL THEN {WHO_ERASED} ELSE 0 END + CASE WHEN what IS NULL THEN {WHAT_ERASED} ELSE 0 END"
        f" + CASE WHEN who.context.user_agent = '' THEN {AGENT_EMPTY} ELSE 0 END"
        f" + CASE WHEN what.message = '' THEN {MESSAGE_EMPTY} ELSE 0 END)::UTINYINT"
    ),
}

# An address as 32 hexadecimal digits: the groups on both sides of "::", zeros between them. An empty side becomes a group of
# zeros, which "::" stands for anyway. A zone after % is left out. A dotted address is IPv4, also at the end of a mapped one, and
# becomes four numbers. Both are made in a step of their own: repeated in each expression they take longer to plan than to do.
_GROUPS: Final = "array_to_string(list_transform(string_split({0}, ':'), lambda g: lpad(g, 4, '0')), '')"
_SIDES: Final = "string_split(split_part(ip, '%', 1), '::')"
_LEFT: Final = _GROUPS.format(f"{_SIDES}[1]")
_RIGHT: Final = f"CASE WHEN contains(ip, '::') THEN {_GROUPS.format(f'{_SIDES}[2]')} ELSE '' END"
_ADDRESSES: Final[dict[str, str]] = {
    "v4": "CASE WHEN contains(ip, '.') THEN string_split(split_part(ip, ':', -1), '.')::UBIGINT[] END",
    "v6": (
        f"CASE WHEN contains(ip, ':') AND NOT contains(ip, '.') "
        f"THEN rpad({_LEFT}, (32 - len({_RIGHT}))::INTEGER, '0') || {_RIGHT} ELSE '' END"
    ),
}
_NUMBERS: Final[dict[str, str]] = {
    "ip_hi": "CASE WHEN v6 = '' THEN 0 ELSE ('0x' || left(v6, 16))::UBIGINT END",
    "ip_lo": (
        "CASE WHEN ip = '' THEN 0 "
        f"WHEN v6 = '' THEN {0xFFFF << 32} + v4[1] * 16777216 + v4[2] * 65536 + v4[3] * 256 + v4[4] "
        "ELSE ('0x' || right(v6, 16))::UBIGINT END"
    ),
}
_HASHES: Final[dict[str, str]] = {
    name: hash16(name.removesuffix("_h"), folded=name.startswith("target"))
    for name in EVENT_COLUMNS
    if name.endswith("_h")
}
_FOLDED: Final = f"lower(concat_ws(chr(10), {', '.join(FOLDED_FROM)}))"

_INSERT: Final = (
    "INSERT INTO event SELECT "
    + ", ".join(f"{(_NUMBERS | _HASHES | {'folded': _FOLDED}).get(name, name)}" for name in EVENT_COLUMNS)
    + " FROM (SELECT *, "
    + ", ".join(f"{expression} AS {name}" for name, expression in _ADDRESSES.items())
    + " FROM (SELECT "
    + ", ".join(f"{expression} AS {name}" for name, expression in _ROWS.items())
    + " FROM read_json(?, format = 'newline_delimited', auto_detect = false, "
    + f"maximum_object_size = {_LINE_BYTES_MAX}, columns = {_LINE_COLUMNS})))"
)


class Inserted(NamedTuple):
    """How many events were added, and how much text the engine has read for them."""

    events: int
    text_bytes: int


def insert(
    connection: duckdb.DuckDBPyConnection, bundles: Iterable[Bundle], text_bytes_max: int | None = None
) -> Inserted:
    """Add the events of the bundles within the caller's transaction.

    Any number of them, since each statement takes some. Takes no more bundles once there was as much text as `text_bytes_max`.
    """
    inserted = text_bytes = 0
    coming = iter(bundles)
    with _memory_file() as (file, path):
        while count := _fill(file, coming):
            done = connection.execute(_INSERT, [path]).fetchone()
            if not done or done[0] != count:
                raise RuntimeError(f"the engine read {done} of {count} events")
            inserted += count
            text_bytes += file.tell()
            if text_bytes_max is not None and text_bytes >= text_bytes_max:
                break
    return Inserted(inserted, text_bytes)


def _fill(file: IO[bytes], bundles: Iterator[Bundle]) -> int:
    """Put the lines of the next bundles into the file instead of what is there; return how many events, 0 at the end."""
    count = 0
    file.seek(0)
    for bundle in bundles:
        if bundle.is_pruned:
            continue
        file.write(_lines(bundle))
        count += bundle.count
        if count >= EVENTS_AT_ONCE or file.tell() >= TEXT_BYTES_AT_ONCE:
            break
    file.truncate()
    file.flush()
    return count


def _lines(bundle: Bundle) -> bytes:
    """One JSON object per event and line: the fields of its head, its seq, who and what, null where erased."""
    # A head lacks its closing brace, and so goes on.
    seqs = map(b',"seq":%d,"who":'.__mod__, range(bundle.first_seq, bundle.end_seq))
    whos, whats = map(_with_nulls, (bundle.whos, bundle.whats))
    return b"}\n".join(map(b"".join, zip(bundle.heads, seqs, whos, repeat(b',"what":'), whats))) + b"}\n"


def _with_nulls(parts: list[bytes]) -> list[bytes]:
    """The lines of a column as JSON: an erased part's line is its digest, which is none."""
    # All base64 sorts before the brace that a part with text begins with: one comparison in C for each line.
    if min(parts) >= b"{":
        return parts
    return [b"null" if is_erased(part) else part for part in parts]


@contextmanager
def _memory_file() -> Iterator[tuple[IO[bytes], str]]:
    """A file of ours alone, and a path under which the engine can read it."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("events"), "wb") as file:
            yield file, f"/proc/self/fd/{file.fileno()}"
    else:  # not Linux: a private file, gone at the end
        with tempfile.NamedTemporaryFile() as named:
            yield named, named.name
