"""Idempotency: which seq an id that a caller brought was given. `(source, id)` is unique.

Also the answer to "did my commit happen?" after an outcome that nobody learnt. Ids that the log made itself are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.db import connection

from opssentinal.events.encoding import Drafts


def find(cursor: Any, keys: Iterable[tuple[str, UUID | None]]) -> dict[tuple[str, UUID], int]:
    """The recorded seq of each (source, id) that is taken."""
    wanted: dict[str, list[UUID]] = {}
    for source, id_ in keys:
        if id_ is not None:
            wanted.setdefault(source, []).append(id_)
    found: dict[tuple[str, UUID], int] = {}
    for source, ids in wanted.items():
        number = _source_number(cursor, source)
        if number is not None:
            found.update(((source, id_), seq) for id_, seq in _select(cursor, number, ids))
    return found


def seqs_of(id_: UUID) -> list[int]:
    """The seqs of the events that callers sent under this id, at most one per source, newest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq FROM ledger_event_id WHERE source_id IN (SELECT id FROM ledger_source) AND event_id = %s "
            "ORDER BY seq DESC",
            [_stored()(id_)],
        )
        return [seq for (seq,) in cursor.fetchall()]


def insert(cursor: Any, drafts: Drafts, first_seq: int) -> int:
    """Take the ids of events whose seqs count up from `first_seq`; return how many of them were free."""
    ids = drafts.ids.decode().split("\n")
    free = at = 0
    for source, count in drafts.sources:
        run = ids[at : at + count]
        if any(run):
            number = _source_number(cursor, source) or _add_source(cursor, source)
            cursor.execute(_INSERT[connection.vendor], [number, first_seq + at, _stored_run(run)])
            free += int(cursor.rowcount)
        at += count
    return free


# One statement that the database runs through by itself: stepping through it from here for each id costs three times as much.
_INSERT = {
    "sqlite": (
        "INSERT INTO ledger_event_id SELECT %s, unhex(value, '-'), %s + key FROM json_each(%s) WHERE value <> '' "
        "ON CONFLICT DO NOTHING"
    ),
    "postgresql": (
        "INSERT INTO ledger_event_id SELECT %s, id, %s + place - 1 "
        "FROM unnest(%s::uuid[]) WITH ORDINALITY AS run (id, place) WHERE id IS NOT NULL ON CONFLICT DO NOTHING"
    ),
}


def _stored_run(ids: list[str]) -> Any:
    """Ids in order, "" for none, as the parameter of _INSERT."""
    if connection.vendor == "postgresql":
        return [id_ or None for id_ in ids]
    return '["' + '","'.join(ids) + '"]'


def delete(cursor: Any, keys: Iterable[tuple[str, UUID]], end_seq: int) -> int:
    """Free the ids of pruned events below `end_seq`; return how many were brought by callers."""
    by_source: dict[str, list[UUID]] = {}
    for source, id_ in keys:
        by_source.setdefault(source, []).append(id_)
    deleted = 0
    for source, ids in by_source.items():
        number = _source_number(cursor, source)
        if number is None:
            continue
        for clause, param in _in_clauses(ids):
            cursor.execute(
                f"DELETE FROM ledger_event_id WHERE source_id = %s AND seq < %s AND event_id {clause}",
                [number, end_seq, *param],
            )
            deleted += cursor.rowcount
    return deleted


def _select(cursor: Any, source_number: int, ids: list[UUID]) -> Iterable[tuple[UUID, int]]:
    for clause, param in _in_clauses(ids):
        cursor.execute(
            f"SELECT event_id, seq FROM ledger_event_id WHERE source_id = %s AND event_id {clause}",
            [source_number, *param],
        )
        for id_, seq in cursor.fetchall():
            yield (id_ if isinstance(id_, UUID) else UUID(bytes=bytes(id_))), seq


def _in_clauses(ids: list[UUID]) -> Iterable[tuple[str, list[Any]]]:
    """The condition that an id is among `ids`, in portions that SQLite takes (32,766 parameters a statement)."""
    if connection.vendor == "postgresql":
        yield "= ANY(%s)", [ids]
        return
    for at in range(0, len(ids), 10_000):
        part = list(map(_stored(), ids[at : at + 10_000]))
        yield f"IN ({','.join(['%s'] * len(part))})", part


def _stored() -> Callable[[UUID], Any]:
    """How this database keeps a UUID: as one, or as its 16 bytes. Asked once per batch, not per id."""
    return _as_it_is if connection.vendor == "postgresql" else attrgetter("bytes")


def _as_it_is(id_: UUID) -> UUID:
    return id_


def _source_number(cursor: Any, name: str) -> int | None:
    cursor.execute("SELECT id FROM ledger_source WHERE name = %s", [name])
    row = cursor.fetchone()
    return row[0] if row else None


def _add_source(cursor: Any, name: str) -> int:
    # The head row is locked, so nobody else adds a source meanwhile.
    cursor.execute(
        "INSERT INTO ledger_source (id, name) SELECT coalesce(max(id), 0) + 1, %s FROM ledger_source", [name]
    )
    number = _source_number(cursor, name)
    assert number is not None
    return number
