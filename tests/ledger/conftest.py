"""A fresh ledger for each test, and the check that re-derives it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from opssentinal.events.model import Actor, Change, Context, Event, Target
from opssentinal.ledger.append import append
from opssentinal.ledger.fsck import fsck
from opssentinal.ledger.reader import head, read_range
from opssentinal.ledger.receipts import Receipt
from opssentinal.ledger.sequencer import Sequencer

NOW_US = 1_790_000_000_000_000


def make_event(number: int = 0, **changes: Any) -> Event:
    """A full event, told apart from others by `number`."""
    fields: dict[str, Any] = {
        "action": "user.role_changed",
        "actor": Actor(type="user", id=f"usr_{number}", name=f"Alice {number}", email="alice@example.com"),
        "outcome": "success",
        "targets": [Target(type="user", id="usr_9", name="Bob")],
        "context": Context(ip="203.0.113.9", user_agent="curl/8.5.0"),
        "changes": [Change(field="role", before="member", after="admin")],
        "metadata": {"number": number},
        "source": "tests",
    }
    return Event(**(fields | changes))


def uuid(number: int) -> UUID:
    return UUID(int=(0x0190 << 112) | (0x7 << 76) | (0b10 << 62) | number)


def commit(events: list[Event], now_us: int | None = NOW_US) -> list[Receipt]:
    with transaction.atomic(durable=True):
        return append(events, now_us=now_us)


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, Section 2.1, as it is written there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def check_ledger() -> None:
    """Derive the log again with nothing of the product but the stored lines, and run fsck."""
    import base64

    leaves: list[bytes] = []
    for bundle in read_range(0, head().size):
        assert bundle.first_seq == len(leaves)
        if bundle.is_pruned:
            leaves += bundle.leaf_hashes()
            continue
        for line, who, what in zip(bundle.heads, bundle.whos, bundle.whats, strict=True):
            digests = [base64.b64encode(sha256(part).digest()).decode() for part in (who, what)]
            entry = line + f',"who":"{digests[0]}","what":"{digests[1]}"}}'.encode()
            assert set(json.loads(entry)) == {
                "v", "id", "recorded_at", "occurred_at", "action", "outcome", "source", "tenant", "who", "what",
            }  # fmt: skip
            leaves.append(sha256(b"\x00" + entry).digest())
    assert len(leaves) == head().size
    assert naive_root(leaves) == head().root
    report = fsck()
    assert report.problems == []
    assert report.size == head().size


@pytest.fixture
def ledger(transactional_db: None) -> Callable[[], None]:
    """An empty ledger; call it to check all of it. The flush between tests empties the tables, so the head is put back."""
    reset_head()
    return check_ledger


def reset_head() -> None:
    from opssentinal.merkle import EMPTY_ROOT

    with connection.cursor() as cursor:
        for table in (
            "ledger_head", "ledger_bundle", "ledger_tile", "ledger_source", "ledger_event_id", "ledger_held_event",
        ):  # fmt: skip
            cursor.execute(f"DELETE FROM {table}")
        cursor.execute("UPDATE ledger_held_total SET events = 0, released = 0")
        cursor.execute("INSERT INTO ledger_head VALUES (1, 0, %s, %s, 0, 0)", [EMPTY_ROOT, b""])


@contextmanager
def commits_held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let no commit of a sequencer begin until the end of the block; the event tells that one would."""
    may_commit, committing, commit = threading.Event(), threading.Event(), Sequencer._commit

    def held(self: Sequencer, batch: Any) -> None:
        committing.set()
        assert may_commit.wait(20)
        commit(self, batch)

    monkeypatch.setattr(Sequencer, "_commit", held)
    yield committing
    may_commit.set()
