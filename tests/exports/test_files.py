"""What somebody finds who opens the file: in a spreadsheet, in a program, in a database."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import duckdb
import pytest

from opssentinal.events.model import Actor, Change, Context, Target
from opssentinal.formats.event_json import event_json
from opssentinal.ledger import reader
from opssentinal.query import Filter
from tests.exports.conftest import Back, events, export, make_event, record_events

HEADER = (
    "Timestamp (UTC),Actor,Action,Target,IP Address,User Agent,id,seq,recorded_at,outcome,actor_type,actor_id,"
    "actor_email,targets_json,changes_json,metadata_json,source,tenant,message"
)
DANGEROUS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1")


def rows(bom: bool = False) -> list[dict[str, str]]:
    content = export(Filter(), "csv", bom=bom).path.read_bytes()
    text = content.decode("utf-8-sig" if bom else "utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_header_is_exact(back: Back) -> None:
    """The first line names the columns in this order, and ends with CRLF as RFC 4180 wants; no event, no other line."""
    content = export(Filter(), "csv").path.read_bytes()
    assert content == HEADER.encode() + b"\r\n"


def test_a_byte_order_mark_only_if_asked_for(back: Back) -> None:
    """Excel wants one, other programs stumble over it."""
    assert not export(Filter(), "csv").path.read_bytes().startswith(b"\xef\xbb\xbf")
    with_mark = export(Filter(), "csv", bom=True)
    assert with_mark.path.read_bytes().startswith(b"\xef\xbb\xbfTimestamp (UTC),")


def test_every_column_says_what_the_event_says(back: Back) -> None:
    """One event with everything: people's columns, machines' columns, JSON columns, UTC times with Z."""
    event = make_event(
        1,
        actor=Actor(type="user", id="usr_1", name="Zoë, “the boss”", email="zoe@example.com"),
        targets=[Target(type="user", id="usr_9", name="Bob"), Target(type="team", id="team_1", email="t@example.com")],
        occurred_at=datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC),
        changes=[Change(field="role", before="member", after="admin")],
        metadata={"n": 1, "list": [1, "two"], "quote": 'say "hi"'},
        message="two\nlines",
        tenant="acme",
    )
    record_events([event])
    (recorded,) = reader.newest(1)
    (row,) = rows()
    assert list(row) == HEADER.split(",")
    assert row["Timestamp (UTC)"] == "2026-11-22T10:00:00.123456Z"
    assert row["Actor"] == "Zoë, “the boss”"
    assert row["Action"] == "user.role_changed"
    assert row["Target"] == "Bob; t@example.com"
    assert (row["IP Address"], row["User Agent"]) == ("203.0.113.9", "curl/8.5.0")
    assert (row["id"], row["seq"]) == (str(recorded.id), "0")
    assert datetime.fromisoformat(row["recorded_at"]) == recorded.recorded_at
    assert row["recorded_at"].endswith("Z")
    assert (row["outcome"], row["actor_type"], row["actor_id"]) == ("success", "user", "usr_1")
    assert row["actor_email"] == "zoe@example.com"
    assert json.loads(row["targets_json"])[0] == {"type": "user", "id": "usr_9", "name": "Bob"}
    assert json.loads(row["changes_json"]) == [{"field": "role", "before": "member", "after": "admin"}]
    assert json.loads(row["metadata_json"]) == {"n": 1, "list": [1, "two"], "quote": 'say "hi"'}
    assert (row["source"], row["tenant"], row["message"]) == ("tests", "acme", "two\nlines")


@pytest.mark.parametrize("text", DANGEROUS)
def test_no_cell_begins_like_a_formula(back: Back, text: str) -> None:
    """Text that a spreadsheet would run is written with an apostrophe before it, in every column that callers fill."""
    record_events(
        [
            make_event(
                1,
                actor=Actor(type=text, id=text, name=text, email=text),
                targets=[Target(type="user", id="1", name=text)],
                context=Context(user_agent=text),
                message=text,
                tenant=text,
            )
        ]
    )
    (row,) = rows()
    for column in ("Actor", "Target", "User Agent", "actor_type", "actor_id", "actor_email", "tenant", "message"):
        assert row[column] == "'" + text, column
    assert not [value for value in row.values() if value[:1] in ("=", "+", "-", "@", "\t", "\r", "\n", "\0")]


def test_jsonl_is_what_the_api_returns(back: Back) -> None:
    """Each line is the event's JSON, key for key, for events with everything and with nothing."""
    record_events(
        [make_event(1, occurred_at=None), make_event(2, metadata={"ü": [None, 1.5, {"a": []}]}, message="=1")]
    )
    record_events(events(5, first=10))
    lines = export(Filter(), "jsonl").path.read_text().splitlines()
    written = {line["seq"]: line for line in map(json.loads, lines)}
    assert len(lines) == 7
    for seq in range(7):
        assert written[seq] == json.loads(event_json(reader.read_event(seq)))


STRANGE = (
    '"',
    "\\",
    "\\n",
    "\x1b[31m",
    "\x7f",
    "\u2028",
    "\u202e",
    "é",
    "e\u0301",
    "👩‍🚀",
    "</script>",
    "a,b;c",
    "'",
    "\r\n",
    " ",
    "null",
)


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_strange_text_and_numbers_survive(back: Back, format: str) -> None:
    """Quotes, backslashes, control characters, line ends of all kinds, emoji, large and small numbers: all exact."""
    numbers = [2**63, -(2**64), 10**30, 1.5, 1e300, 1e-7, 0, True, None]
    metadata = {"numbers": numbers, **{text: [text, {"deep": text}] for text in STRANGE}}
    record_events(
        [
            make_event(
                number,
                actor=Actor(type="user", id=text, name=text),
                targets=[Target(type=text, id=text, name=text), Target(type="x", id=text)],
                context=Context(ip="2001:db8::1", user_agent=text, session_id=text, forwarded_for=[text, "10.0.0.1"]),
                changes=[Change(field=text, before=text, after=numbers), Change(field="x", before=None, after=text)],
                metadata=metadata,
                message=text,
                tenant=text,
            )
            for number, text in enumerate(STRANGE)
        ]
    )
    made = export(Filter(), format)
    if format == "jsonl":
        lines = made.path.read_bytes().split(b"\n")[:-1]
        found = {line["seq"]: line for line in map(json.loads, lines)}
        for seq in range(len(STRANGE)):
            assert found[seq] == json.loads(event_json(reader.read_event(seq)))
        return
    if format == "csv":
        text = made.path.read_bytes().decode()
        table = {int(row["seq"]): row for row in csv.DictReader(io.StringIO(text, newline=""))}
        for seq, row in table.items():
            mark = "'" if STRANGE[seq] == "\r\n" else ""
            assert row["Target"] == mark + "; ".join([STRANGE[seq]] * 2)
    else:
        rows_ = duckdb.sql(f"SELECT * FROM '{made.path}'")
        table = {
            row[rows_.columns.index("seq")]: dict(zip(rows_.columns, row, strict=True)) for row in rows_.fetchall()
        }
    assert len(table) == len(STRANGE)
    for seq, row in table.items():
        event = json.loads(event_json(reader.read_event(seq)))
        mark = "'" if STRANGE[seq] == "\r\n" and format == "csv" else ""
        assert (row["actor_id"], row["message"], row["tenant"]) == (mark + STRANGE[seq],) * 3
        for name in ("targets", "changes", "metadata"):
            assert json.loads(row[f"{name}_json"]) == event[name]


def test_parquet_has_the_same_rows(back: Back) -> None:
    """DuckDB reads the columns of the CSV with types, and dangerous text untouched."""
    record_events([*events(50), make_event(60, message="=1+1")])
    path = str(export(Filter(), "parquet").path)
    table = duckdb.sql(f"SELECT * FROM '{path}' ORDER BY seq")
    assert duckdb.sql(f"SELECT count(*) FROM '{path}'").fetchone() == (51,)
    found = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
    assert [row["seq"] for row in found] == list(range(51))
    assert found[50]["message"] == "=1+1"
    by_seq = {int(row["seq"]): row for row in rows()}
    for row in found:
        assert str(row["id"]) == by_seq[row["seq"]]["id"]
        assert row["outcome"] == by_seq[row["seq"]]["outcome"]


def test_there_is_no_row_limit(back: Back) -> None:
    """More rows than any buffer: all of them, each once."""
    for first in range(0, 30_000, 5_000):
        record_events(events(5_000, first=first))
    assert [int(row["seq"]) for row in sorted(rows(), key=lambda row: int(row["seq"]))] == list(range(30_000))
