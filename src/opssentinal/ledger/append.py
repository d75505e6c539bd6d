"""append(): the one way into the log, inside the caller's transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from opssentinal.errors import IntegrityError
from opssentinal.events.decoding import same_content
from opssentinal.events.encoding import encode_events
from opssentinal.events.model import Event
from opssentinal.ledger import event_ids, tiles
from opssentinal.ledger.bundle import pack
from opssentinal.ledger.head import Head, lock_head, write_head
from opssentinal.ledger.reader import read_events
from opssentinal.ledger.receipts import Receipt
from opssentinal.merkle import leaf_hashes


def append(events: Sequence[Event], *, now_us: int | None = None) -> list[Receipt]:
    """Append validated events, each with its `source`, in order; return a receipt for each, in order.

    Runs in the caller's transaction and must be the last thing it does, since it locks the head until the end: the events
    are recorded if and only if that transaction commits, and durable when the commit returns. An event whose id its source
    used before is not appended again (see Receipt). `now_us` is the clock in µs since the epoch; recorded_at never runs
    backwards, so a clock that was set back records the newest time seen until it has caught up.

    Raises IntegrityError where the head is damaged; then nothing may be appended until somebody has looked.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("append() runs inside a transaction, which decides whether the events happened")
    if not events:
        return []
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    with connection.cursor() as cursor:
        head = lock_head(cursor)
        recorded_at_us = max(now_us, head.recorded_at_us)
        if _take_ids(cursor, events, head.size):
            return _write(cursor, head, events, recorded_at_us)
        fresh, receipts = _without_repeats(events, event_ids.find(cursor, events), head.size)
        if fresh:
            event_ids.insert(cursor, fresh, head.size)
            accepted = iter(_write(cursor, head, fresh, recorded_at_us))
            receipts = [receipt or next(accepted) for receipt in receipts]
    return [receipt for receipt in receipts if receipt is not None]


def _take_ids(cursor: Any, events: Sequence[Event], first_seq: int) -> bool:
    """Take the ids of all events, or none and return False where one of them is taken, here or earlier in the batch.

    Trying costs half of asking first, and nearly every batch is new.
    """
    if all(event.id is None for event in events):
        return True
    savepoint = transaction.savepoint()
    wanted = sum(event.id is not None for event in events)
    if event_ids.insert(cursor, events, first_seq) == wanted:
        transaction.savepoint_commit(savepoint)
        return True
    transaction.savepoint_rollback(savepoint)
    return False


def _without_repeats(
    events: Sequence[Event], taken: dict[tuple[str, UUID], int], size: int
) -> tuple[list[Event], list[Receipt | None]]:
    """Part the events that are new from those whose id is taken, by the log or by one before it in the same batch.

    The receipts hold None where an event is new.
    """
    recorded = read_events(taken.values())
    fresh: list[Event] = []
    receipts: list[Receipt | None] = []
    pending: dict[tuple[str, UUID], int] = {}
    for event in events:
        if event.id is None:
            fresh.append(event)
            receipts.append(None)
            continue
        key = (event.source or "", event.id)
        seq = taken.get(key)
        if seq is not None:
            same = seq in recorded and same_content(event, recorded[seq])
        elif (at := pending.get(key)) is not None:
            seq, same = size + at, event == fresh[at]
        else:
            pending[key] = len(fresh)
            fresh.append(event)
            receipts.append(None)
            continue
        receipts.append(Receipt(event.id, seq, "duplicate" if same else "conflict"))
    return fresh, receipts


def _write(cursor: Any, head: Head, events: Sequence[Event], recorded_at_us: int) -> list[Receipt]:
    # The root does not say how many entries there are (5 and 6 have frontiers of the same shape), the bundles do.
    cursor.execute("SELECT first_seq + count FROM ledger_bundle ORDER BY first_seq DESC LIMIT 1")
    last = cursor.fetchone()
    if (last[0] if last else 0) != head.size:
        raise IntegrityError(f"The head says {head.size} entries, the bundles do not.", hint="Run opssentinal fsck.")
    heads, whos, whats, entries = encode_events(events, recorded_at_us)
    growth = head.frontier.append(leaf_hashes(entries))
    cursor.execute(
        "INSERT INTO ledger_bundle VALUES (%s, %s, %s, %s, %s, %s, %s, NULL)",
        [head.size, len(events), recorded_at_us, recorded_at_us, pack(heads), pack(whos), pack(whats)],
    )
    tiles.extend(cursor, growth)
    write_head(
        cursor, Head(growth.frontier.size, growth.frontier.root(), growth.frontier, head.minimum_index, recorded_at_us)
    )
    return [
        Receipt(event.id or _id_of(line), seq, "accepted")
        for seq, (event, line) in enumerate(zip(events, heads, strict=True), head.size)
    ]


_ID_FROM = len('{"v":1,"id":"')


def _id_of(head_line: bytes) -> UUID:
    """The id that the encoder gave an event which brought none; it stands at a fixed place of the entry."""
    return UUID(head_line[_ID_FROM : _ID_FROM + 36].decode())
