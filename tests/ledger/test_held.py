"""Events under a legal hold outlive pruning: readable, provable, found again, and gone once nobody holds them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opssentinal.errors import NotFound
from opssentinal.events.encoding import EncodedEvent
from opssentinal.events.model import Actor, RecordedEvent, Target
from opssentinal.ledger import held, pruning, reader
from opssentinal.ledger.fsck import fsck
from opssentinal.ledger.maintenance import compact
from opssentinal.ledger.pruning import Holds, no_holds
from opssentinal.ledger.tiles import LedgerHashes
from opssentinal.merkle import inclusion_proof, leaf_hash, verify_inclusion
from opssentinal.query import Filter, parse
from tests.ledger.conftest import NOW_US, check_ledger, commit, ledger, make_event, reset_head, uuid
from tests.search.naive import matching

__all__ = ["ledger"]

Check = Callable[[], None]
LATER = NOW_US + 1


def fill(count: int, held_seqs: Iterable[int] = (), step: int = 300) -> list[RecordedEvent]:
    """A log in which the events at `held_seqs` are Mallory's, every second with an id that its caller brought."""
    wanted = set(held_seqs)
    for first in range(0, count, step):
        commit(
            [
                make_event(
                    seq,
                    id=uuid(seq) if seq % 2 else None,
                    actor=Actor(type="user", id="usr_mallory" if seq in wanted else f"usr_{seq}", name="M"),
                )
                for seq in range(first, min(first + step, count))
            ]
        )
    return everything()


def everything() -> list[RecordedEvent]:
    return [event for bundle in reader.bundles_after(0, 1 << 30) for event in bundle.events()]


def holding(*queries: str) -> Holds:
    return lambda: tuple(parse(query) for query in queries)


MALLORY = holding("actor:usr_mallory")


def test_held_events_survive_and_their_neighbours_go(ledger: Check) -> None:
    """By seq, by id, in a range, among the newest and in a list of seqs; whatever is not held is nowhere."""
    kept = [0, 1, 255, 256, 511, 700]
    before = fill(1000, kept)
    assert compact() == 0
    report = pruning.prune(LATER, holds=MALLORY)
    assert (report.minimum_index, report.events) == (768, 768 - len(kept))
    ledger()
    assert fsck().held == len(kept)
    expected = [event for event in before if event.seq in kept or event.seq >= 768]
    assert everything() == expected
    assert reader.newest(2000) == expected[::-1]
    assert [event.seq for event in reader.newest(3, before_seq=600)] == [511, 256, 255]
    assert reader.read_events(range(1000)) == {event.seq: event for event in expected}
    assert [bundle.first_seq for bundle in reader.read_range(500, 520) if not bundle.is_pruned] == [511]
    for event in before:
        if event in expected:
            assert reader.read_event(event.seq) == event
            assert reader.find_by_id(event.id) == [event.seq]
        else:
            with pytest.raises(NotFound):
                reader.read_event(event.seq)
            assert reader.find_by_id(event.id) == []


def test_held_events_are_provable(ledger: Check) -> None:
    """The stored lines hash to the leaf that was signed for, and its inclusion verifies against today's root."""
    kept = [3, 255, 256, 400]
    fill(600, kept)
    pruning.prune(LATER, holds=MALLORY)
    commit([make_event(1)])
    top = reader.head()
    for row in held.at(range(600)):
        leaf = leaf_hash(EncodedEvent(row.head, row.who, row.what).entry)
        proof = inclusion_proof(row.seq, top.size, LedgerHashes())
        verify_inclusion(leaf, row.seq, top.size, proof, top.root)
    assert [row.seq for row in held.at(range(600))] == kept


def test_an_id_of_a_held_event_stays_taken(ledger: Check) -> None:
    """Sent again it is a duplicate, with other content a conflict; the id of a pruned neighbour is free."""
    fill(256, [5])
    pruning.prune(LATER, holds=MALLORY)
    mallory = Actor(type="user", id="usr_mallory", name="M")
    receipts = commit(
        [
            make_event(5, id=uuid(5), actor=mallory),
            make_event(5, id=uuid(5), message="other", actor=mallory),
            make_event(7, id=uuid(7)),
        ]
    )
    assert [receipt.status for receipt in receipts] == ["duplicate", "conflict", "accepted"]
    ledger()


def test_what_no_hold_wants_any_more_goes(ledger: Check) -> None:
    """After one of two holds is released its events go with their ids; what the other wants stays."""
    fill(512, [10, 11, 300])
    both = holding("actor:usr_mallory", f"id:{uuid(11)}")
    pruning.prune(LATER, holds=both)
    assert [row.seq for row in held.at(range(512))] == [10, 11, 300]
    assert pruning.prune(LATER, holds=holding(f"id:{uuid(11)}")).events == 2
    ledger()
    assert [row.seq for row in held.at(range(512))] == [11]
    assert held.totals() == (1, 2)
    with pytest.raises(NotFound):
        reader.read_event(300)
    assert pruning.prune(LATER).events == 1
    ledger()
    assert held.totals() == (0, 3)
    assert everything() == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ledger_event_id")
        assert cursor.fetchone()[0] == 0


def test_a_released_event_that_is_young_again_stays(ledger: Check) -> None:
    """If the retention was lengthened meanwhile, an event within it is not removed, hold or not."""
    fill(256, [10])
    pruning.prune(LATER, holds=MALLORY)
    assert pruning.prune(NOW_US).events == 0
    assert reader.read_event(10).seq == 10


def test_space_and_text_of_a_released_event_are_given_back(ledger: Check) -> None:
    """On SQLite no page keeps a word of it."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL's autovacuum does it in its time")
    secret = "Zacharias-Quarrington"
    commit([make_event(seq, message=secret * 20) for seq in range(512)])
    pruning.prune(LATER, holds=holding(f'"{secret}"'))
    assert held.totals().events == 512

    def pages() -> int:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA page_count")
            return int(cursor.fetchone()[0])

    before = pages()
    pruning.prune(LATER)
    assert pages() < before - 40
    assert held.totals() == (0, 512)


@pytest.mark.parametrize("reached", ["pruning", "letting go"])
def test_a_hold_that_is_placed_meanwhile_wins(ledger: Check, reached: str) -> None:
    """Between choosing what goes and the transaction that removes it: looked at again, and kept."""
    fill(512, [10])
    if reached == "letting go":
        pruning.prune(LATER, holds=MALLORY)
    asked = 0

    def placed_late() -> tuple[Filter, ...]:
        nonlocal asked
        asked += 1
        return MALLORY() if asked > 1 else ()

    pruning.prune(LATER, holds=placed_late)
    assert reader.read_event(10).seq == 10
    assert reader.head().minimum_index == 512
    ledger()


def test_readers_see_held_events_at_every_moment(ledger: Check) -> None:
    """While pruning runs, nobody ever misses a held event or meets a neighbour that is half gone."""
    before = fill(6000, range(0, 6000, 97), step=40)
    wanted = {event.seq: event for event in before if event.seq % 97 == 0}
    done = threading.Event()
    failures: list[str] = []

    def read() -> None:
        try:
            while not done.is_set():
                if not wanted.items() <= {event.seq: event for event in everything()}.items():
                    failures.append("a range lacks a held event")
                if reader.read_events(wanted) != wanted:
                    failures.append("a held event is not found by seq")
        except Exception as error:  # noqa: BLE001
            failures.append(repr(error))
        finally:
            connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    pruning.prune(LATER, holds=MALLORY)
    done.set()
    thread.join()
    assert failures == []
    ledger()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE ledger_held_event SET what = who WHERE seq = 10", "not that of its leaf"),
        ("UPDATE ledger_held_event SET recorded_at_us = 5 WHERE seq = 10", "another id or time"),
        ("UPDATE ledger_held_event SET seq = 11 WHERE seq = 10", "not that of its leaf"),
        ("UPDATE ledger_held_event SET seq = 600 WHERE seq = 10", "belong to no pruned bundle"),
        ("DELETE FROM ledger_held_event WHERE seq = 10", "their total says"),
        ("DELETE FROM ledger_event_id WHERE seq = 301", "not in the index of ids"),
        ("UPDATE ledger_held_total SET events = 9", "their total says 9"),
    ],
)
def test_fsck_notices_what_happens_to_held_events(ledger: Check, damage: str, said: str) -> None:
    """Each kind of damage is a problem that says where."""
    fill(700, [10, 301])
    pruning.prune(LATER, holds=MALLORY)
    assert fsck().is_clean
    with connection.cursor() as cursor:
        cursor.execute(damage)
    assert any(said in problem for problem in fsck().problems), fsck().problems


_QUERIES = st.sampled_from(
    [
        "actor:usr_1", "actor:usr_2*", "-actor:usr_*", "action:user.*", "outcome:failure", "target:bob", "tenant:acme",
        "-tenant:acme", "ip:203.0.113.0/24", "before:2026-09-20", "after:2026-09-22", "on:2026-09-21", "deleted",
    ]
)  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_model(ledger: Check, data: st.DataObject) -> None:
    """Whatever is recorded, held, released and pruned: what can be read is what a list and the holds say."""
    reset_head()
    log: list[RecordedEvent] = []
    minimum_index = 0
    alive: set[int] = set()
    for round_ in range(data.draw(st.integers(1, 3))):
        events = [
            make_event(
                seq,
                actor=Actor(type="user", id=f"usr_{data.draw(st.integers(1, 25))}"),
                outcome=data.draw(st.sampled_from(["success", "failure"])),
                targets=[Target(type="user", id="bob")] if data.draw(st.booleans()) else [],
                tenant=data.draw(st.sampled_from([None, "acme"])),
                message=data.draw(st.sampled_from([None, "it was deleted"])),
            )
            for seq in range(data.draw(st.integers(1, 12)))
        ] * 30
        commit(events, NOW_US + round_)
        log = log + everything()[len(alive) :]
        alive |= {event.seq for event in log[-len(events) :]}
        filters = tuple(map(parse, data.draw(st.lists(_QUERIES, max_size=3))))
        pruning.prune(NOW_US + 100, holds=lambda filters=filters: filters)
        minimum_index = len(log) - len(log) % 256
        wanted = {event.seq for filter_ in filters for event in matching(log, filter_)}
        alive = {seq for seq in alive if seq >= minimum_index or seq in wanted}
        assert everything() == [event for event in log if event.seq in alive]
        assert held.totals().events == sum(seq < minimum_index for seq in alive)
        check_ledger()


def test_without_holds_nothing_is_held(ledger: Check) -> None:
    """The default."""
    fill(512, [1])
    pruning.prune(LATER, holds=no_holds)
    assert held.totals() == (0, 0)
    assert held.all_seqs() == []
