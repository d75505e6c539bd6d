"""append(): the one way into the log, inside the caller's transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count, repeat
from typing import Any, Literal
from uuid import UUID

from django.db import connection, transaction

from opssentinal.errors import IntegrityError
from opssentinal.events.decoding import is_same, same_content
from opssentinal.events.encoding import Drafts, draft
from opssentinal.events.model import Event
from opssentinal.ledger import event_ids, tiles
from opssentinal.ledger.bundle import pack
from opssentinal.ledger.head import Head, lock_head, write_head
from opssentinal.ledger.reader import read_events
from opssentinal.ledger.receipts import Receipt
from opssentinal.merkle import leaf_hashes

_ACCEPTED: Literal["accepted"] = "accepted"
# Further behind the newest recorded_at than transactions and servers overtake each other: the clock was set back.
_SET_BACK_US = 60_000_000


def append(events: Sequence[Event] | Drafts, *, now_us: int | None = None) -> list[Receipt]:
    """Append validated events, each with its `source`, in order; return a receipt for each, in order.

    Runs in the caller's transaction and must be the last thing it does, since it locks the head until the end: the events
    are recorded if and only if that transaction commits, and durable when the commit returns. An event whose id its source
    used before is not appended again (see Receipt). `now_us` is the clock in µs since the epoch; recorded_at never runs
    backwards, so a clock that was set back records the newest time seen until it has caught up. An absent occurred_at is the
    same moment, but the clock's where that was set back: after an hour in which it was a year ahead, people look for what
    happens today under today.

    Raises IntegrityError where the head is damaged; then nothing may be appended until somebody has looked.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("append() runs inside a transaction, which decides whether the events happened")
    drafts = events if isinstance(events, Drafts) else draft(events)
    if not drafts:
        return []
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    with connection.cursor() as cursor:
        head = lock_head(cursor)
        recorded_at_us = max(now_us, head.recorded_at_us)
        occurred_at_us = now_us if recorded_at_us - now_us > _SET_BACK_US else recorded_at_us
        if _take_ids(cursor, drafts, head.size):
            return _write(cursor, head, drafts, recorded_at_us, occurred_at_us)
        fresh, receipts = _without_repeats(cursor, drafts, head.size)
        if fresh:
            event_ids.insert(cursor, fresh, head.size)
            accepted = iter(_write(cursor, head, fresh, recorded_at_us, occurred_at_us))
            receipts = [receipt or next(accepted) for receipt in receipts]
    return [receipt for receipt in receipts if receipt is not None]


def _take_ids(cursor: Any, drafts: Drafts, first_seq: int) -> bool:
    """Take the ids of all events, or none and return False where one of them is taken, here or earlier in the batch.

    Trying costs half of asking first, and nearly every batch is new.
    """
    wanted = len(drafts.ids.split())
    if not wanted:
        return True
    savepoint = transaction.savepoint()
    if event_ids.insert(cursor, drafts, first_seq) == wanted:
        transaction.savepoint_commit(savepoint)
        return True
    transaction.savepoint_rollback(savepoint)
    return False


def _without_repeats(cursor: Any, drafts: Drafts, size: int) -> tuple[Drafts, list[Receipt | None]]:
    """Part the events that are new from those whose id is taken, by the log or by one before it in the same batch.

    The receipts hold None where an event is new.
    """
    events = drafts.events()
    taken = event_ids.find(cursor, drafts.keys())
    recorded = read_events(taken.values())
    fresh: list[int] = []
    receipts: list[Receipt | None] = []
    pending: dict[tuple[str, UUID], int] = {}
    for at, (event, (source, id_)) in enumerate(zip(events, drafts.keys(), strict=True)):
        if id_ is not None:
            seq = taken.get((source, id_))
            if seq is not None:
                same = seq in recorded and same_content(event, recorded[seq])
                receipts.append(Receipt(str(id_), seq, "duplicate" if same else "conflict"))
                continue
            first = pending.get((source, id_))
            if first is not None:
                same = is_same(event, events[fresh[first]])
                receipts.append(Receipt(str(id_), size + first, "duplicate" if same else "conflict"))
                continue
            pending[source, id_] = len(fresh)
        fresh.append(at)
        receipts.append(None)
    return drafts.only(fresh), receipts


def _write(cursor: Any, head: Head, drafts: Drafts, recorded_at_us: int, occurred_at_us: int) -> list[Receipt]:
    # The root does not say how many entries there are (5 and 6 have frontiers of the same shape), the bundles do.
    cursor.execute("SELECT first_seq + count FROM ledger_bundle ORDER BY first_seq DESC LIMIT 1")
    last = cursor.fetchone()
    if (last[0] if last else 0) != head.size:
        raise IntegrityError(f"The head says {head.size} entries, the bundles do not.", hint="Run opssentinal fsck.")
    ids, heads, entries = drafts.complete(recorded_at_us, occurred_at_us)
    growth = head.frontier.append(leaf_hashes(entries))
    columns = map(pack, (b"\n".join(heads), drafts.whos, drafts.whats))
    cursor.execute(
        "INSERT INTO ledger_bundle VALUES (%s, %s, %s, %s, %s, %s, %s, NULL)",
        [head.size, len(drafts), recorded_at_us, recorded_at_us, *columns],
    )
    tiles.extend(cursor, growth)
    write_head(
        cursor, Head(growth.frontier.size, growth.frontier.root(), growth.frontier, head.minimum_index, recorded_at_us)
    )
    return list(map(Receipt, map(bytes.decode, ids), count(head.size), repeat(_ACCEPTED)))
