"""What the index knows of its segments spares reading, and never hides an event."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opssentinal.events.model import Actor, Context, Event, RecordedEvent, Target
from opssentinal.ledger.bundle import Bundle
from opssentinal.query import Filter, parse
from opssentinal.search.duckdb import DuckDBStore, scanning
from opssentinal.search.duckdb import store as engine
from opssentinal.search.duckdb.segments import _NUMBERS, SEGMENT_SEQS, VALUES_MAX
from opssentinal.search.interruption import Interruption
from tests.search.events import bundle_of, event, events
from tests.search.naive import matching
from tests.search.test_conformance import all_pages, filters, newest_first, patient

GO = Interruption()


@pytest.fixture(autouse=True)
def described_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are described with every batch, and small tables are searched like large ones."""
    monkeypatch.setattr(engine, "_CHECKPOINT_ROWS", 1)
    monkeypatch.setattr(scanning, "PORTIONS_FROM_ROWS", 1)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], DuckDBStore]]:
    """Call it for an empty store, which is closed at the end."""
    made: list[DuckDBStore] = []

    def open_new() -> DuckDBStore:
        made.append(DuckDBStore(tmp_path / f"index-{len(made)}", memory_mb=256, threads=1))
        return made[-1]

    yield open_new
    for store in made:
        store.close()


def spread(store: DuckDBStore, groups: Sequence[Sequence[Event]]) -> list[RecordedEvent]:
    """Put each group of events at the beginning of a segment of its own, and nothing into the rest of it."""
    recorded: list[RecordedEvent] = []
    for number, group in enumerate(groups):
        first, end = number * SEGMENT_SEQS, (number + 1) * SEGMENT_SEQS
        at = first + len(group)
        if group:
            bundle = bundle_of(group, first)
            store.ingest([bundle])
            recorded += bundle.events()
        store.ingest([Bundle(at, end - at, 0, 0, [], [], [])])
    return recorded


def found(store: DuckDBStore, query: str) -> list[int]:
    """In which segments the events of a query are."""
    return sorted({each.seq // SEGMENT_SEQS for each in all_pages(store, parse(query), 50)})


def seen(path: Path) -> list[tuple[int, int, int]]:
    """What a closed index has taken down of its segments."""
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute("SELECT * FROM seen ORDER BY ALL").fetchall()


def seen_targets(path: Path) -> list[tuple[int, ...]]:
    """The bits of the targets of a closed index."""
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute("SELECT * FROM seen_target ORDER BY ALL").fetchall()


def person(name: str, **fields: object) -> Event:
    """An event of somebody."""
    return event(actor=Actor("user", f"usr_{name}", name.title(), f"{name}@example.com"), **fields)


@settings(patient, max_examples=15)
@given(
    groups=st.lists(st.lists(events(), max_size=3), min_size=8, max_size=10),
    asked=st.lists(filters(), min_size=1, max_size=6),
)
def test_no_event_is_hidden(opened: Callable[[], DuckDBStore], groups: list[list[Event]], asked: list[Filter]) -> None:
    """Whatever stands in which segment, every filter finds exactly what it means, in both orders."""
    store = opened()
    recorded = spread(store, groups)
    for filter in asked:
        wanted = newest_first(matching(recorded, filter))
        assert all_pages(store, filter, 4) == wanted
        assert all_pages(store, filter, 4, "oldest") == wanted[::-1]
        assert store.extent(filter, None, GO).count == len(wanted)


_SOMEWHERE = [
    [person("alice"), person("bob", context=Context(ip="10.0.0.1", user_agent="curl"))],
    [person("alice"), person("carol", targets=[Target("key", "k1"), Target("door", "d1")])],
    *[[person("alice")] for _ in range(6)],
    [person("alice"), person("dora", action="door.opened", context=Context(ip="2001:db8::1", session_id="s1"))],
    [person("alice")],
]


@pytest.mark.parametrize(
    ("query", "segments"),
    [
        ("actor:usr_alice", list(range(10))),
        ("actor:usr_bob", [0]),
        ("actor:CAROL", [1]),
        ("actor:Dora@Example.Com", [8]),
        ("actor:nobody", []),
        ("actor:usr_bob,usr_dora", [0, 8]),
        ("actor:usr_bob action:door.opened", []),
        ("-actor:usr_alice", [0, 1, 8]),
        ("actor:*ora", [8]),
        ("actor_type:user ip:10.0.0.0/8", [0]),
        ("ip:10.0.0.2", []),
        ("ip:2001:db8::/32", [8]),
        ("ip:2001:db8::1", [8]),
        ("ip:2001:db8::2", []),
        ("ua:CURL", [0]),
        ("action:door.opened", [8]),
        ("action:door.closed", []),
        ("target_type:door", [1]),
        ("target_type:window", []),
        ("target:D1", [1]),
        ("target:d2", []),
        ("target:k1 actor:usr_carol", [1]),
        ("target:k1 actor:usr_dora", []),
        ("session:s1", [8]),
        ("session:s2", []),
    ],
)
def test_finds_the_rare_and_the_frequent(opened: Callable[[], DuckDBStore], query: str, segments: list[int]) -> None:
    """Values of one segment, of all and of none, whatever their case, alone and together."""
    store = opened()
    spread(store, _SOMEWHERE)
    assert found(store, query) == segments


def test_reads_only_segments_that_may_hold_it(opened: Callable[[], DuckDBStore]) -> None:
    """An event whose segment is said to lack its actor is not looked for: that is what makes the others fast."""
    store = opened()
    spread(store, _SOMEWHERE)
    assert found(store, "actor:usr_carol") == [1]
    store.close()
    with duckdb.connect(store.path) as connection:
        connection.execute("DELETE FROM seen WHERE segment = 1")
    again = DuckDBStore(store.path)
    assert again.extent(parse("actor:usr_carol"), None, GO).count == 0
    assert found(again, "target:k1") == [1]
    again.close()


_ROUND_ABOUT = (
    Actor("user", "gold", "Alice", "alice@example.com"),
    Actor("user", "usr_1", "GOLD", "alice@example.com"),
    Actor("user", "usr_2", "Alice", "Gold"),
    Actor("user", "Gold", "gold", "gold"),
    Actor("user", "silver", "Silver", "silver@example.com"),
)


@pytest.mark.parametrize(
    "last", [_ROUND_ABOUT[:1], _ROUND_ABOUT[1:2], _ROUND_ABOUT[2:3], _ROUND_ABOUT, _ROUND_ABOUT[4:]]
)
def test_an_actor_found_by_one_column_is_found_by_the_others_where_nothing_is_known(
    opened: Callable[[], DuckDBStore], last: tuple[Actor, ...]
) -> None:
    """All segments have the text as an id; what came since may have it as a name or an e-mail too."""
    store = opened()
    recorded = spread(store, [[event(actor=_ROUND_ABOUT[0]), event(actor=_ROUND_ABOUT[4])] for _ in range(8)])
    bundle = bundle_of([event(actor=actor) for actor in last], store.position)
    store.ingest([bundle])
    recorded += bundle.events()
    for query in ("actor:gold", "-actor:gold", "actor:gold,usr_1", "actor:GOLD actor_type:user", "actor:gold*"):
        wanted = newest_first(matching(recorded, parse(query)))
        assert wanted
        assert all_pages(store, parse(query), 2) == wanted
        assert all_pages(store, parse(query), 50, "oldest") == wanted[::-1]
        assert store.extent(parse(query), None, GO).count == len(wanted)


def test_reads_no_column_that_lacks_the_actor_everywhere(opened: Callable[[], DuckDBStore]) -> None:
    """A name that no segment is said to have is looked for in the last one only, beside an id that all have."""
    store = opened()
    groups = [[event(actor=_ROUND_ABOUT[0]), event(actor=_ROUND_ABOUT[1])] for _ in range(9)]
    spread(store, groups)
    assert store.extent(parse("actor:gold"), None, GO).count == 18
    store.close()
    with duckdb.connect(store.path) as connection:
        name = f"field = {_NUMBERS['actor_name']} AND value = hash('gold')"
        assert connection.execute(f"SELECT count(*) FROM seen WHERE {name}").fetchone() == (8,)
        connection.execute(f"DELETE FROM seen WHERE {name}")
    again = DuckDBStore(store.path)
    assert again.extent(parse("actor:gold"), None, GO).count == 10
    again.close()


def test_reads_only_segments_that_may_hold_a_target(opened: Callable[[], DuckDBStore]) -> None:
    """A target whose segment lacks its bit is not looked for, by none of its texts; the others are."""
    store = opened()
    groups = [[event(targets=[Target("key", f"k{n}", f"Key {n}", f"K{n}@example.com")])] for n in range(9)]
    spread(store, groups)
    texts = ("k4", "KEY 4", "k4@Example.com")
    for text in texts:
        assert found(store, f'target:"{text}"') == [4]
    store.close()
    with duckdb.connect(store.path) as connection:
        connection.execute("DELETE FROM seen_target WHERE segment = 4")
    again = DuckDBStore(store.path)
    for text in texts:
        assert again.extent(parse(f'target:"{text}"'), None, GO).count == 0
        assert found(again, f'target:"{text.replace("4", "5")}"') == [5]
    assert found(again, "target:k*") == list(range(9))
    again.close()


def test_no_target_is_hidden_among_many(opened: Callable[[], DuckDBStore]) -> None:
    """Thousands of targets over segments that are brought in small batches: each is found where it is, before and after some
    are forgotten and the file is written again."""
    chance, store = random.Random(7), opened()
    groups = [
        [
            event(targets=[_any_target(chance) for _ in range(chance.choice((0, 1, 1, 1, 1, 2 if number == 5 else 1)))])
            for _ in range(400)
        ]
        for number in range(10)
    ]
    recorded: list[RecordedEvent] = []
    for number, group in enumerate(groups):
        first, end = number * SEGMENT_SEQS, (number + 1) * SEGMENT_SEQS
        for at in range(0, len(group), 133):
            bundle = bundle_of(group[at : at + 133], first + at)
            store.ingest([bundle])
            recorded += bundle.events()
        at = first + len(group)
        store.ingest([Bundle(at, end - at, 0, 0, [], [], [])])
    asked = [f"target:{chance.choice('int')}{chance.randrange(3_000)}" for _ in range(60)]
    for query in asked:
        assert all_pages(store, parse(query), 50) == newest_first(matching(recorded, parse(query)))
    kept = {each.seq for each in recorded if each.seq < 4 * SEGMENT_SEQS and each.seq % 3 == 0}
    store.forget(4 * SEGMENT_SEQS, sorted(kept))
    recorded = [each for each in recorded if each.seq in kept or each.seq >= 4 * SEGMENT_SEQS]
    made = store.path.with_name("rewritten")
    store.rewrite(made, GO)
    rewritten = DuckDBStore(made, threads=1)
    for query in asked:
        wanted = newest_first(matching(recorded, parse(query)))
        assert all_pages(store, parse(query), 50) == wanted
        assert all_pages(rewritten, parse(query), 50, "oldest") == wanted[::-1]
    rewritten.close()


def _any_target(chance: random.Random) -> Target:
    number = chance.randrange(3_000)
    email = f"t{number}" if chance.random() < 0.01 else None
    return Target("thing", f"I{number}", f"N{chance.randrange(3_000)}" if chance.random() < 0.5 else None, email)


def test_what_is_known_of_all_targets_is_of_its_moment(opened: Callable[[], DuckDBStore]) -> None:
    """Further targets and e-mails that come with a segment are found, although there were none when the question was put first."""
    store = opened()
    spread(store, [[event(targets=[Target("key", "k1")])] for _ in range(8)])
    assert found(store, "target:gold") == []
    for first, targets in (
        (8, [Target("key", "k1"), Target("door", "gold")]),
        (9, [Target("key", "k1", None, "gold")]),
    ):
        store.ingest([bundle_of([event(targets=targets)], first * SEGMENT_SEQS)])
        assert found(store, "target:gold") == list(range(8, first + 1))
        at = first * SEGMENT_SEQS + 1
        store.ingest([Bundle(at, SEGMENT_SEQS - 1, 0, 0, [], [], [])])
        assert found(store, "target:gold") == list(range(8, first + 1))


def test_more_values_than_are_taken_down(opened: Callable[[], DuckDBStore]) -> None:
    """A segment of very many actors may hold any, takes no more space for it, and keeps its other columns."""
    store = opened()
    crowd = [person(f"p{number}") for number in range(VALUES_MAX + 1)]
    spread(store, [crowd, *[[person("alice")] for _ in range(19)], [person("bob", action="door.opened")]])
    assert found(store, "actor:usr_p7") == found(store, f"actor:P{VALUES_MAX}") == [0]
    assert found(store, "actor:usr_alice") == list(range(1, 20))
    assert found(store, "actor:usr_bob") == found(store, "action:door.opened") == [20]
    assert found(store, "actor:nobody") == []
    store.close()
    numbers = [segment for segment, _, _ in seen(store.path)]
    assert numbers.count(0) == numbers.count(1) == numbers.count(19)


def test_events_of_a_segment_that_is_not_complete_are_found(opened: Callable[[], DuckDBStore]) -> None:
    """And those of segments that were complete, but not described when the process ended."""
    store = opened()
    spread(store, [[person("alice")] for _ in range(8)])
    position = store.position
    store.ingest([bundle_of([person("bob"), person("carol")], position)])
    assert found(store, "actor:usr_bob") == [8]
    store.close()
    with duckdb.connect(store.path) as connection:
        connection.execute("DELETE FROM seen WHERE segment >= 6")
    again = DuckDBStore(store.path)
    assert found(again, "actor:usr_bob") == [8]
    assert found(again, "actor:usr_alice") == list(range(8))
    again.ingest([bundle_of([person("dora")], position + 2)])
    again.close()
    assert {segment for segment, _, _ in seen(again.path)} == set(range(8))


def test_forgotten_values_are_gone_once_rewritten(opened: Callable[[], DuckDBStore], tmp_path: Path) -> None:
    """A rewritten index says of its segments what one says that never knew of the forgotten events."""
    everything = [[person("alice"), person(f"p{number}")] for number in range(9)]
    store, other = opened(), opened()
    spread(store, everything)
    kept = [8 * SEGMENT_SEQS, 3 * SEGMENT_SEQS + 1]
    assert store.forget(9 * SEGMENT_SEQS, kept) == 16
    assert found(store, "actor:usr_p3") == [3]
    assert found(store, "actor:usr_p4") == []
    store.rewrite(tmp_path / "rewritten", GO)
    spread(other, [[], [], [], [person("p3")], [], [], [], [], [person("alice")]])
    other.ingest([bundle_of([person("alice")], other.position)])
    store.close()
    other.close()
    assert seen(tmp_path / "rewritten") == seen(other.path)
    assert seen_targets(tmp_path / "rewritten") == seen_targets(other.path)
    rewritten = DuckDBStore(tmp_path / "rewritten")
    assert found(rewritten, "actor:usr_p3") == [3]
    assert found(rewritten, "actor:usr_p4") == []
    rewritten.close()


def test_pages_of_one_target_have_its_events_in_order(opened: Callable[[], DuckDBStore]) -> None:
    """Each once, whether the target is found by its id, its name or among further targets, or by several of them."""
    store = opened()
    ways = (
        [Target("key", "Gold")],
        [Target("key", "k1", "gold")],
        [Target("key", "k1"), Target("key", "gold", "gold")],
        [Target("key", "gold", "GOLD", "gold"), Target("key", "gold")],
        [Target("key", "silver")],
    )
    recorded = spread(
        store, [[event(17 * number % 11, targets=ways[(number + at) % 5]) for at in range(3)] for number in range(9)]
    )
    wanted = newest_first(matching(recorded, parse("target:gold")))
    assert len(wanted) > 15
    for limit in (1, 2, 50):
        assert all_pages(store, parse("target:gold"), limit) == wanted
        assert all_pages(store, parse("target:gold"), limit, "oldest") == wanted[::-1]


def test_a_clock_that_is_centuries_ahead_hides_nothing(opened: Callable[[], DuckDBStore]) -> None:
    """Pages without a filter go through portions of time too, however empty those are."""
    store = opened()
    recorded = spread(
        store, [[event(at), event(occurred_at=event().occurred_at + timedelta(days=365 * 400 * at))] for at in range(5)]
    )  # type: ignore[operator]
    for query in ("", "after:2026-03-28", "before:2500-01-01", "after:2300-01-01 before:2400-01-01"):
        wanted = newest_first(matching(recorded, parse(query)))
        assert all_pages(store, parse(query), 2) == wanted
        assert all_pages(store, parse(query), 2, "oldest") == wanted[::-1]


def test_the_last_address_is_one_like_others(opened: Callable[[], DuckDBStore]) -> None:
    """Its halves are the largest numbers there are, which stand for nothing else."""
    store = opened()
    last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    groups = [[event(context=Context(ip=ip))] for ip in (last, *(f"10.0.0.{n}" for n in range(8)))]
    recorded = spread(store, groups)
    for address, place in ((last, 0), ("10.0.0.3", 4)):
        assert store.page(parse(f"ip:{address}"), 10, None, "newest", None, GO).events == [recorded[place]]
    told = store._connection.execute("SELECT count(*) FROM seen WHERE value IS NULL").fetchone()
    assert told == (0,)
