"""Idempotency: which seq an id that a caller brought was given. `(source, id)` is unique.

Also the answer to "did my commit happen?" after an outcome that nobody learnt. Ids that the log made itself are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from opssentinal.events.model import Event


def find(cursor: Any, events: Sequence[Event]) -> dict[tuple[str, UUID], int]:
    """The recorded seq of each (source, id) among `events` that is taken."""
    wanted: dict[str, list[UUID]] = {}
    for event in events:
        if event.id is not None:
            wanted.setdefault(event.source or "", []).append(event.id)
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


def insert(cursor: Any, events: Sequence[Event], first_seq: int) -> int:
    """Take the ids of events whose seqs count up from `first_seq`; return how many of them were free."""
    brought = [
        (event.source or "", event.id, seq) for seq, event in enumerate(events, first_seq) if event.id is not None
    ]
    if not brought:
        return 0
    numbers = {
        source: _source_number(cursor, source) or _add_source(cursor, source) for source in {row[0] for row in brought}
    }
    if connection.vendor == "postgresql":
        sources, ids, seqs = zip(*brought, strict=True)
        cursor.execute(
            "INSERT INTO ledger_event_id SELECT * FROM unnest(%s::integer[], %s::uuid[], %s::bigint[]) "
            "ON CONFLICT DO NOTHING",
            [[numbers[source] for source in sources], list(ids), list(seqs)],
        )
    else:
        # One statement that SQLite runs through by itself: stepping through it from here for each id costs three times as much.
        lines = msgspec.json.encode([f"{id_.hex}{numbers[source]:010d}{seq}" for source, id_, seq in brought]).decode()
        cursor.execute(
            "INSERT INTO ledger_event_id SELECT CAST(substr(value, 33, 10) AS integer), unhex(substr(value, 1, 32)), "
            "CAST(substr(value, 43) AS integer) FROM json_each(%s) WHERE true ON CONFLICT DO NOTHING",
            [lines],
        )
    return int(cursor.rowcount)


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
