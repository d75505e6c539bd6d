"""append(): what is in the log afterwards, on every database that is supported."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import connection, transaction

from opssentinal.errors import IntegrityError, NotFound
from opssentinal.events.model import Context, from_us
from opssentinal.ledger.append import append
from opssentinal.ledger.reader import bundles_after, find_by_id, head, newest, read_event, read_range
from tests.ledger.conftest import NOW_US, commit, make_event, uuid

Check = Callable[[], None]


def test_events_come_back_as_they_were_sent(ledger: Check) -> None:
    """Everything submitted is read back, with its seq and the commit's time."""
    receipts = commit([make_event(1), make_event(2, id=uuid(2))])
    ledger()
    assert [(r.seq, r.status) for r in receipts] == [(0, "accepted"), (1, "accepted")]
    event = read_event(1)
    sent = make_event(2)
    assert (event.id, event.seq, event.source) == (uuid(2), 1, "tests")
    assert (event.actor, event.targets, event.context) == (sent.actor, sent.targets, sent.context)
    assert (event.changes, event.metadata) == (sent.changes, sent.metadata)
    assert event.recorded_at == event.occurred_at
    assert int(event.recorded_at.timestamp() * 1e6) == NOW_US


@pytest.mark.parametrize("sizes", [[1], [1, 1, 1], [255, 1, 1], [256], [257, 600], [3, 253, 256, 1], [2000, 100]])
def test_the_tree_is_that_of_all_entries(ledger: Check, sizes: list[int]) -> None:
    """However commits cut the log, root, frontier and tiles are those of its entries."""
    number = 0
    for size in sizes:
        commit([make_event(number + i) for i in range(size)])
        number += size
        ledger()
    assert head().size == number
    assert [event.metadata["number"] for bundle in read_range(0, number) for event in bundle.events()] == list(
        range(number)
    )


def test_an_id_is_recorded_once(ledger: Check) -> None:
    """The same event under its id again is a duplicate; another one under that id is a conflict; neither is appended."""
    commit([make_event(1, id=uuid(1)), make_event(2)])
    receipts = commit(
        [make_event(1, id=uuid(1)), make_event(9, id=uuid(1)), make_event(3, id=uuid(3)), make_event(3, id=uuid(3))]
    )
    ledger()
    assert [(r.seq, r.status) for r in receipts] == [
        (0, "duplicate"),
        (0, "conflict"),
        (2, "accepted"),
        (2, "duplicate"),
    ]
    assert head().size == 3


def test_the_same_event_by_two_keys_is_a_duplicate(ledger: Check) -> None:
    """Which key sent it is nothing an event says, in one commit as in two."""
    one, other = (make_event(1, id=uuid(1), context=Context(ip="10.0.0.1", api_key=key)) for key in ("ak_1", "ak_2"))
    assert [receipt.status for receipt in commit([one, other])] == ["accepted", "duplicate"]
    assert [receipt.status for receipt in commit([other])] == ["duplicate"]
    ledger()


def test_an_id_belongs_to_its_source(ledger: Check) -> None:
    """Two sources may use the same id; each has its own event."""
    commit([make_event(1, id=uuid(1)), make_event(2, id=uuid(1), source="other")])
    ledger()
    assert head().size == 2
    assert find_by_id(uuid(1)) == [1, 0]


def test_ids_of_ours_are_found(ledger: Check) -> None:
    """An event without an id gets a UUIDv7 of its commit's time, by which it is found again."""
    receipts = commit([make_event(n) for n in range(40)])
    assert {UUID(r.id).version for r in receipts} == {7}
    assert len({r.id for r in receipts}) == 40
    assert {UUID(r.id).int >> 80 for r in receipts} == {NOW_US // 1000}
    assert find_by_id(UUID(receipts[17].id)) == [17]
    assert find_by_id(uuid(99)) == []


def test_a_rolled_back_transaction_leaves_nothing(ledger: Check) -> None:
    """Events live and die with the transaction they were appended in, ids included."""
    commit([make_event(1)])
    before = head()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        append([make_event(2, id=uuid(2))])
        _ = 1 // 0
    assert head() == before
    ledger()
    assert commit([make_event(2, id=uuid(2))])[0].status == "accepted"


def test_append_needs_a_transaction(ledger: Check) -> None:
    """Outside a transaction nothing is written, since a crash could leave half of it."""
    with pytest.raises(RuntimeError):
        append([make_event(1)])
    assert head().size == 0


def test_recorded_at_never_runs_backwards(ledger: Check) -> None:
    """A clock that is set back records the newest time seen."""
    commit([make_event(1)], NOW_US)
    commit([make_event(2)], NOW_US - 60_000_000)
    ledger()
    assert read_event(1).recorded_at == read_event(0).recorded_at == read_event(1).occurred_at


def test_what_happens_after_the_clock_was_ahead_is_found_under_its_own_day(ledger: Check) -> None:
    """Recorded at the newest time seen, an event without a time of its own occurred when the clock says; one with it, then."""
    year_us = 366 * 86_400_000_000
    commit([make_event(1)], NOW_US + year_us)
    commit([make_event(2), make_event(3, occurred_at=from_us(NOW_US - 1))], NOW_US)
    ledger()
    assert read_event(1).recorded_at == read_event(2).recorded_at == from_us(NOW_US + year_us)
    assert (read_event(1).occurred_at, read_event(2).occurred_at) == (from_us(NOW_US), from_us(NOW_US - 1))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledger_head SET size = size + 1",
        "UPDATE ledger_head SET root = frontier, frontier = root",
        "UPDATE ledger_head SET size = 2",
        "DELETE FROM ledger_head",
    ],
)
def test_a_damaged_head_stops_appending(ledger: Check, damage: str) -> None:
    """Whoever changes the head by hand stops the log; nothing is papered over."""
    commit([make_event(n) for n in range(5)])
    with connection.cursor() as cursor:
        cursor.execute(damage)
    with pytest.raises(IntegrityError):
        commit([make_event(9)])


def test_readers_slice_from_their_position(ledger: Check) -> None:
    """A reader gets exactly the events from its position on, wherever bundles begin."""
    for n in range(30):
        commit([make_event(3 * n), make_event(3 * n + 1), make_event(3 * n + 2)])
    for position in (0, 1, 2, 3, 44, 89, 90):
        numbers = [event.metadata["number"] for bundle in bundles_after(position) for event in bundle.events()]
        assert numbers == list(range(position, 90))
    assert [event.seq for event in newest(4)] == [89, 88, 87, 86]
    assert [event.seq for event in newest(3, before_seq=2)] == [1, 0]
    with pytest.raises(NotFound):
        read_event(90)


def test_a_missing_bundle_is_noticed(ledger: Check) -> None:
    """A row somebody deleted is an error for followers, never a silent gap."""
    for n in range(4):
        commit([make_event(n)])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_bundle WHERE first_seq = 2")
    with pytest.raises(IntegrityError):
        list(bundles_after(0))
    with pytest.raises(IntegrityError):
        list(bundles_after(2))
