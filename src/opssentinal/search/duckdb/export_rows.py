"""An exported event as SQL: the line of a CSV file, the line of JSON, the columns of Parquet.

A line is one text, joined and quoted here: the engine asks a function of one column once per entry of its dictionary, while
its own CSV writer looks at every cell of every row. `concat` copies once; a chain of `||` copies at each link.
"""

from __future__ import annotations

from typing import Final

from opssentinal.search.duckdb.schema import AGENT_EMPTY, MESSAGE_EMPTY, WHAT_ERASED, WHO_ERASED


def _time(column: str) -> str:
    """RFC 3339 with Z; microseconds where there are any, as the API writes them."""
    moment = f"make_timestamp({column})"
    return (
        f"CASE WHEN {column} % 1000000 = 0 THEN strftime({moment}, '%Y-%m-%dT%H:%M:%SZ') "
        f"ELSE strftime({moment}, '%Y-%m-%dT%H:%M:%S.%fZ') END"
    )


def _json(expression: str) -> str:
    return f"to_json({expression})::VARCHAR"


def _doubled(text: str) -> str:
    return f"""replace({text}, '"', '""')"""


# Stands before and after a text whose quotes are to be doubled still. NUL never reaches the ledger.
QUOTES_ONCE: Final = b"\0"


def _quoted_once(text: str) -> str:
    return f"""concat('"', chr(0), {text}, chr(0), '"')"""


def _json_in_cell(column: str) -> str:
    """A JSON string within a quoted cell. It is as long as its text and two quotes where nothing had to be escaped."""
    return (
        f"""CASE WHEN strlen(to_json({column})) = strlen({column}) + 2 THEN concat('""', {column}, '""') """
        f"ELSE {_doubled(_json(column))} END"
    )


def _members(members: dict[str, str], *, absent: str = "{0} = ''", in_cell: bool = False) -> str:
    """A JSON object of columns, without those of which `absent` holds; the first is always there."""
    quote, value = ('""', _json_in_cell) if in_cell else ('"', _json)
    first, *rest = members
    parts = [f"'{{{quote}{first}{quote}:'", value(members[first])]
    for name in rest:
        text = f"concat(',{quote}{name}{quote}:', {value(members[name])})"
        parts.append(f"CASE WHEN {absent.format(members[name])} THEN '' ELSE {text} END")
    return f"concat({', '.join(parts)}, '}}')"


_TARGET: Final = {"type": "target_type", "id": "target_id", "name": "target_name", "email": "target_email"}
_MORE_TARGET: Final = _members(
    {"type": "x[1]", "id": "x[2]", "name": "x[3]", "email": "x[4]"}, absent="coalesce({0}, '') = ''"
)
_MORE: Final = "from_json(more_targets, '[[\"VARCHAR\"]]')"
_TARGETS: Final = (
    f"CASE WHEN target_type = '' THEN '[]' WHEN more_targets = '' THEN '[' || {_members(_TARGET)} || ']' ELSE "
    f"'[' || {_members(_TARGET)} || ',' || array_to_string(list_transform({_MORE}, lambda x: {_MORE_TARGET}), ',') || ']' END"
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

# NUL never reaches the ledger; it is here because the guide names it.
_FORMULA_STARTS: Final = "concat('=+-@\t\r\n\uff1d\uff0b\uff0d\uff20', chr(0))"


def _cell(column: str) -> str:
    """A text as a cell: quoted where RFC 4180, 2.6 wants it, with an apostrophe before what a spreadsheet would run.

    Some readers take a line with # for a comment, which quotes prevent.
    """
    is_special = " OR ".join(f"contains({column}, '{char}')" for char in ',"\r\n#')
    is_formula = f"({column} <> '' AND contains({_FORMULA_STARTS}, left({column}, 1)))"
    return (
        f"""CASE WHEN {is_special} THEN concat('"', CASE WHEN {is_formula} THEN '''' ELSE '' END, {_doubled(column)}, '"') """
        f"WHEN {is_formula} THEN concat('''', {column}) ELSE {column} END"
    )


# Most events have one target at most; what more there are is quoted as a whole.
_CSV_TARGETS: Final = (
    "CASE WHEN target_type = '' THEN '[]' "
    f"""WHEN more_targets = '' THEN concat('"[', {_members(_TARGET, in_cell=True)}, ']"') ELSE {_quoted_once(_TARGETS)} END"""
)
# The columns as they stand in the file. None without _cell can begin like a formula; action and outcome need no quotes by
# their patterns, an object of JSON always does.
_CSV_COLUMNS: Final[dict[str, str]] = {
    "Timestamp (UTC)": _time("occurred_us"),
    "Actor": _cell("actor"),
    "Action": "action",
    "Target": _cell("target"),
    "IP Address": _cell("ip"),
    "User Agent": _cell("user_agent"),
    "id": "id",
    "seq": "seq",
    "recorded_at": _time("recorded_us"),
    "outcome": "outcome",
    "actor_type": _cell("actor_type"),
    "actor_id": _cell("actor_id"),
    "actor_email": _cell("actor_email"),
    "targets_json": _CSV_TARGETS,
    "changes_json": f"CASE WHEN changes = '' THEN '[]' ELSE {_quoted_once(_CHANGES)} END",
    "metadata_json": f"CASE WHEN metadata = '' THEN '{{}}' ELSE {_quoted_once('metadata')} END",
    "source": _cell("source"),
    "tenant": _cell("tenant"),
    "message": _cell("message"),
}
CSV_HEADER: Final = ",".join(_CSV_COLUMNS).encode() + b"\r\n"
# A line without its end, from a table with CSV_NAMES besides the columns of the index.
CSV_LINE: Final = "concat(" + ", ',', ".join(_CSV_COLUMNS.values()) + ")"
CSV_NAMES: Final = f"{_NAME.format('actor_')} AS actor, {_TARGET_NAMES} AS target"


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
JSON_LINE: Final = "concat({})".format(
    ", ".join(
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


PARQUET_COLUMNS: Final = _parquet_columns()
