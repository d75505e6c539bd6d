"""Exports: the engine itself writes CSV, JSON lines and Parquet, newest first.

CSV and JSON lines are written in portions of time, each sorted on its own: memory stays constant, and there is progress.

CSV is RFC 4180 with CRLF; a cell beginning with one of = + - @ (also in full width) TAB CR LF gets an apostrophe in
front, so that no spreadsheet runs it as a formula (NUL never reaches the ledger). JSON lines and Parquet are exact.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import IO, Final

import duckdb

from opssentinal.search.answers import Exported, Format
from opssentinal.search.duckdb.conditions import Condition
from opssentinal.search.duckdb.schema import AGENT_EMPTY, MESSAGE_EMPTY, WHAT_ERASED, WHO_ERASED
from opssentinal.search.interruption import Interruption

_PORTION_ROWS: Final = 200_000
_COPY_BYTES: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"
_ORDER: Final = "ORDER BY occurred_us DESC, seq DESC"


def _time(column: str) -> str:
    """RFC 3339 with Z; microseconds where there are any, as the API writes them."""
    moment = f"make_timestamp({column})"
    return (
        f"(strftime({moment}, '%Y-%m-%dT%H:%M:%S') || CASE WHEN {column} % 1000000 = 0 THEN 'Z' "
        f"ELSE strftime({moment}, '.%fZ') END)"
    )


def _json(expression: str) -> str:
    return f"to_json({expression})::VARCHAR"


def _members(members: dict[str, str], *, absent: str = "{0} = ''") -> str:
    """A JSON object of columns, without those of which `absent` holds; the first is always there."""
    first, *rest = members
    text = f"'{{\"{first}\":' || {_json(members[first])}"
    for name in rest:
        is_absent = absent.format(members[name])
        text += f" || CASE WHEN {is_absent} THEN '' ELSE ',\"{name}\":' || {_json(members[name])} END"
    return text + " || '}'"


_FIRST_TARGET: Final = _members(
    {"type": "target_type", "id": "target_id", "name": "target_name", "email": "target_email"}
)
_MORE_TARGET: Final = _members(
    {"type": "x[1]", "id": "x[2]", "name": "x[3]", "email": "x[4]"}, absent="coalesce({0}, '') = ''"
)
_MORE: Final = "from_json(more_targets, '[[\"VARCHAR\"]]')"
_TARGETS: Final = (
    f"CASE WHEN target_type = '' THEN '[]' WHEN more_targets = '' THEN '[' || {_FIRST_TARGET} || ']' ELSE "
    f"'[' || {_FIRST_TARGET} || ',' || array_to_string(list_transform({_MORE}, lambda x: {_MORE_TARGET}), ',') || ']' END"
)
_CHANGE: Final = (
    "'{\"field\":' || x[1]::VARCHAR || CASE WHEN coalesce(x[2]::VARCHAR, 'null') = 'null' THEN '' ELSE ',\"before\":' || x[2]::VARCHAR END "
    "|| CASE WHEN coalesce(x[3]::VARCHAR, 'null') = 'null' THEN '' ELSE ',\"after\":' || x[3]::VARCHAR END || '}'"
)
_CHANGES: Final = (
    "CASE WHEN changes = '' THEN '[]' ELSE "
    f"'[' || array_to_string(list_transform(from_json(changes, '[[\"JSON\"]]'), lambda x: {_CHANGE}), ',') || ']' END"
)
_METADATA: Final = "CASE WHEN metadata = '' THEN '{}' ELSE metadata END"
_NAME: Final = "CASE WHEN {0}name <> '' THEN {0}name WHEN {0}email <> '' THEN {0}email ELSE {0}id END"
_TARGET_NAMES: Final = (
    f"{_NAME.format('target_')} || CASE WHEN more_targets = '' THEN '' ELSE '; ' || array_to_string(list_transform({_MORE}, "
    "lambda x: coalesce(x[3], x[4], x[2])), '; ') END"
)

_COLUMNS: Final[dict[str, str]] = {
    "Timestamp (UTC)": _time("occurred_us"),
    "Actor": _NAME.format("actor_"),
    "Action": "action",
    "Target": _TARGET_NAMES,
    "IP Address": "ip",
    "User Agent": "user_agent",
    "id": "id::VARCHAR",
    "seq": "seq",
    "recorded_at": _time("recorded_us"),
    "outcome": "outcome",
    "actor_type": "actor_type",
    "actor_id": "actor_id",
    "actor_email": "actor_email",
    "targets_json": _TARGETS,
    "changes_json": _CHANGES,
    "metadata_json": _METADATA,
    "source": "source",
    "tenant": "tenant",
    "message": "message",
}
# The engine makes these itself, and none can begin with a dangerous character.
_HARMLESS: Final = frozenset(
    (
        "Timestamp (UTC)",
        "Action",
        "id",
        "seq",
        "recorded_at",
        "outcome",
        "targets_json",
        "changes_json",
        "metadata_json",
    )
)


def _neutral(expression: str) -> str:
    """The cell with an apostrophe in front where a spreadsheet would take it for a formula.

    An empty one (its `unicode` is -1) is NULL to the engine, which would otherwise put quotes around it.
    """
    first = ", ".join(str(ord(char)) for char in "=+-@\t\r\n\0\uff1d\uff0b\uff0d\uff20")
    return (
        f"CASE WHEN unicode({expression}) IN (-1, {first}) "
        f"THEN CASE WHEN {expression} = '' THEN NULL ELSE '''' || {expression} END ELSE {expression} END"
    )


_CSV: Final = ", ".join(
    f'{sql if name in _HARMLESS else _neutral(f"({sql})")} AS "{name}"' for name, sql in _COLUMNS.items()
)
_CSV_HEADER: Final = ",".join(_COLUMNS).encode() + b"\r\n"


def _optional(name: str, sql: str, *, unless: str) -> str:
    return f"CASE WHEN {unless} THEN '' ELSE ',\"{name}\":' || {sql} END"


_CONTEXT: Final = (
    "'{' || ltrim("
    + " || ".join(
        (
            _optional("ip", _json("ip"), unless="ip = ''"),
            _optional("user_agent", _json("user_agent"), unless=f"user_agent = '' AND marks & {AGENT_EMPTY} = 0"),
            _optional("session_id", _json("session_id"), unless="session_id = ''"),
            _optional("request_id", _json("request_id"), unless="request_id = ''"),
            "CASE WHEN context_rest = '' THEN '' ELSE "
            + "CASE WHEN context_rest->>0 IS NULL THEN '' ELSE ',\"forwarded_for\":' || (context_rest->0)::VARCHAR END || "
            + "CASE WHEN context_rest->>1 IS NULL THEN '' ELSE ',\"api_key\":' || (context_rest->1)::VARCHAR END END",
        )
    )
    + ", ',') || '}'"
)
_ACTOR: Final = _members({"type": "actor_type", "id": "actor_id", "name": "actor_name", "email": "actor_email"})
_ERASED: Final = (
    f"CASE marks & {WHO_ERASED | WHAT_ERASED} WHEN 0 THEN '' WHEN {WHO_ERASED} THEN '\"who\"' "
    f'WHEN {WHAT_ERASED} THEN \'"what"\' ELSE \'"who","what"\' END'
)
# As msgspec writes a RecordedEvent, which is what the API returns.
_JSON_LINE: Final = " || ".join(
    (
        '\'{"id":"\' || id::VARCHAR || \'","seq":\' || seq || \',"action":\' || ' + _json("action"),
        "',\"outcome\":' || " + _json("outcome"),
        '\',"occurred_at":"\' || ' + _time("occurred_us"),
        '\'","recorded_at":"\' || ' + _time("recorded_us"),
        f"'\",\"actor\":' || CASE WHEN marks & {WHO_ERASED} <> 0 THEN 'null' ELSE {_ACTOR} END",
        f"',\"targets\":' || {_TARGETS}",
        f"',\"context\":' || {_CONTEXT}",
        f"',\"changes\":' || {_CHANGES}",
        f"',\"metadata\":' || {_METADATA}",
        "',\"message\":' || CASE WHEN message = '' AND marks & "
        + f"{MESSAGE_EMPTY} = 0 THEN 'null' ELSE {_json('message')} END",
        "',\"source\":' || " + _json("source"),
        "',\"tenant\":' || CASE WHEN tenant = '' THEN 'null' ELSE " + _json("tenant") + " END",
        f"',\"erased\":[' || {_ERASED} || ']}}' || chr(10)",
    )
)


def _parquet_columns() -> str:
    exact = {
        "occurred_at": "make_timestamp(occurred_us)", "recorded_at": "make_timestamp(recorded_us)",
        "seq": "seq", "id": "id::VARCHAR", "action": "action", "outcome": "outcome", "source": "source",
        "tenant": "nullif(tenant, '')", "actor_type": "nullif(actor_type, '')", "actor_id": "nullif(actor_id, '')",
        "actor_name": "nullif(actor_name, '')", "actor_email": "nullif(actor_email, '')", "ip": "nullif(ip, '')",
        "user_agent": f"CASE WHEN user_agent = '' AND marks & {AGENT_EMPTY} = 0 THEN NULL ELSE user_agent END",
        "session_id": "nullif(session_id, '')", "request_id": "nullif(request_id, '')", "context_json": _CONTEXT,
        "targets_json": _TARGETS, "changes_json": _CHANGES, "metadata_json": _METADATA,
        "message": f"CASE WHEN message = '' AND marks & {MESSAGE_EMPTY} = 0 THEN NULL ELSE message END",
        "erased": f"string_split(nullif(replace({_ERASED}, '\"', ''), ''), ',')",
    }  # fmt: skip
    return ", ".join(f"{sql} AS {name}" for name, sql in exact.items())


_PARQUET: Final = _parquet_columns()


def export(
    cursor: duckdb.DuckDBPyConnection,
    condition: Condition,
    format: Format,
    path: Path,
    bom: bool,
    progress: Callable[[int], None],
    stop: Interruption,
) -> Exported:
    """Write the file; see SearchStore.export. The cursor is inside a transaction."""
    portions = [path.with_name(f"{path.name}.portion{number}") for number in (1, 2)]
    rows = 0
    try:
        with open(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            whole = _Whole(file)
            if format == "csv":
                whole.write((_BOM if bom else b"") + _CSV_HEADER)
            # While the engine writes one portion, a thread copies and hashes the one before it.
            with ThreadPoolExecutor(1, "export-copy") as copier:
                copying: Future[None] | None = None
                spans = _portions(cursor, condition) if format != "parquet" else [""]
                for bounds, portion in zip(spans, cycle(portions), strict=False):
                    stop.check()
                    portion.touch(mode=0o600)
                    rows += _copy(cursor, condition, bounds, format, portion)
                    if copying is not None:
                        copying.result()
                    copying = copier.submit(whole.take, portion)
                    progress(rows)
                if copying is not None:
                    copying.result()
            file.flush()
            return Exported(rows, file.tell(), whole.digest.hexdigest())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        for portion in portions:
            portion.unlink(missing_ok=True)


class _Whole:
    """The file that portions become, hashed as it grows."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> None:
        """Add some bytes."""
        self.digest.update(content)
        self._file.write(content)

    def take(self, portion: Path) -> None:
        """Add a file."""
        with portion.open("rb") as made:
            while content := made.read(_COPY_BYTES):
                self.write(content)


def _copy(cursor: duckdb.DuckDBPyConnection, condition: Condition, bounds: str, format: Format, to: Path) -> int:
    """COPY one portion. The file name cannot be a parameter, and is written as the literal it is.

    Straight into that file: the engine would leave one of its own behind where the disk fails, with events in it.
    """
    name = "'" + str(to).replace("'", "''") + "'"
    source = f"FROM event WHERE {condition.sql}{bounds} {_ORDER}"
    match format:
        case "csv":
            statement = (
                f"COPY (SELECT {_CSV} {source}) TO {name} (FORMAT csv, HEADER false, NEW_LINE '\r\n', QUOTE '\"', "
                "ESCAPE '\"', NULLSTR '', USE_TMP_FILE false)"
            )
        case "jsonl":
            statement = f"COPY (SELECT encode({_JSON_LINE}) {source}) TO {name} (FORMAT blob, USE_TMP_FILE false)"
        case "parquet":
            statement = (
                f"COPY (SELECT {_PARQUET} {source}) TO {name} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
            )
    done = cursor.execute(statement, condition.parameters).fetchone()
    return int(done[0]) if done else 0


def _portions(cursor: duckdb.DuckDBPyConnection, condition: Condition) -> Iterator[str]:
    """Conditions that cut the events into spans of time of about _PORTION_ROWS each, newest first."""
    [(first, last, count)] = cursor.execute(
        f"SELECT min(occurred_us), max(occurred_us), count(*) FROM event WHERE {condition.sql}", condition.parameters
    ).fetchall()
    if count <= _PORTION_ROWS:
        if count:
            yield ""
        return
    step = max((last - first) // 10_000, 1)
    spans = cursor.execute(
        f"SELECT (occurred_us - {first}) // {step} AS span, count(*) FROM event WHERE {condition.sql} GROUP BY 1 ORDER BY 1 DESC",
        condition.parameters,
    ).fetchall()
    upper, gathered = last + 1, 0
    for span, rows in spans:
        gathered += rows
        lower = first + span * step
        if gathered >= _PORTION_ROWS:
            yield f" AND occurred_us >= {lower} AND occurred_us < {upper}"
            upper, gathered = lower, 0
    if gathered:
        yield f" AND occurred_us >= {first} AND occurred_us < {upper}"
