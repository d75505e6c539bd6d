"""What every search store must do: each filter, facet, histogram and page walk against a naive evaluation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from opssentinal.errors import InvalidQuery, NotFound
from opssentinal.events.model import Change, Context, Event, RecordedEvent, Target
from opssentinal.query import CATEGORIES, OUTCOMES, Filter, Phrase, Term, literal, parse
from opssentinal.search.answers import FACET_FIELDS
from opssentinal.search.duckdb import DuckDBStore
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import Corrupt, SearchStore
from tests.search.events import (
    ACTIONS,
    ADDRESSES,
    BEGIN,
    KINDS,
    NAMES,
    SOURCES,
    bundle_of,
    erased,
    event,
    events,
    many,
    newest_first,
)
from tests.search.naive import facet, matching

STORES: dict[str, Callable[[Path], SearchStore]] = {"duckdb": lambda path: DuckDBStore(path, memory_mb=256, threads=1)}
GO = Interruption()

patient = settings(
    max_examples=40,
    deadline=None,
    # A failing log is small already, and making it smaller takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=STORES)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], SearchStore]]:
    """Call it for an empty store, which is closed at the end."""
    made: list[SearchStore] = []

    def open_new() -> SearchStore:
        for store in made[-1:]:
            store.close()
        path = tmp_path / f"index-{len(made)}"
        made.append(STORES[request.param](path))
        return made[-1]

    yield open_new
    for store in made[-1:]:
        store.close()


def filled(store: SearchStore, submitted: Sequence[Event]) -> list[RecordedEvent]:
    """Put events into the store in two batches; return them as the ledger would."""
    cut = len(submitted) // 3
    bundles = [bundle_of(part, first) for part, first in ((submitted[:cut], 0), (submitted[cut:], cut)) if part]
    for bundle in bundles:
        store.ingest([bundle])
    return [each for bundle in bundles for each in bundle.events()]


def all_pages(store: SearchStore, filter: Filter, limit: int, order: str = "newest") -> list[RecordedEvent]:
    """Walk through every page."""
    found: list[RecordedEvent] = []
    after, head = None, None
    while True:
        page = store.page(filter, limit, after, order, head, GO)  # type: ignore[arg-type]
        assert len(page.events) <= limit
        found += page.events
        if page.next is None:
            return found
        after, head = page.next, page.head


_patterns = st.lists(
    st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES).map(lambda n: n[:2])), min_size=1, max_size=3
)
_values = st.one_of(
    st.sampled_from(NAMES).map(literal),
    st.sampled_from(["*", "a*", "*e", "*l*c*", "b*b", "*\\**", "%*", "*_*", "*\\\\*"]),
    _patterns.map(lambda parts: "*".join(map(literal, parts))),
)
_choices = {
    "action": st.sampled_from([*ACTIONS, "user.*", "*.success", "l*"]),
    "category": st.sampled_from(CATEGORIES),
    "is": st.just("sensitive"),
    "outcome": st.sampled_from(OUTCOMES),
    "ip": st.sampled_from(
        [address for address in ADDRESSES if "%" not in address]
        + ["10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8:0:1::/64", "::/96", "fe80::/10", "::/128", "10.0.0.0/30"]
    ),
    "actor_type": st.sampled_from([*KINDS, "u*"]),
    "target_type": st.sampled_from([*KINDS, "*r*"]),
    "ua": st.sampled_from(["*firefox*", "curl/8.0", "*", "CURL*"]),
    "source": st.sampled_from([*SOURCES, "b*"]),
    "tenant": st.sampled_from(["acme", "Acme", "*", "*cme"]),
}  # fmt: skip


def _terms(field: str) -> st.SearchStrategy[Term]:
    values = _choices.get(field, _values)
    return st.builds(Term, st.just(field), st.lists(values, min_size=1, max_size=3).map(tuple), st.booleans())


_moments = st.one_of(st.none(), st.integers(-5, 300).map(lambda hours: BEGIN + timedelta(hours=hours)))


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    """A valid filter over the small world of tests.search.events."""
    after, before = draw(_moments), draw(_moments)
    if after is not None and before is not None and after >= before:
        before = None
    fields = [*_choices, "actor", "target", "session", "request"]
    terms = draw(st.lists(st.sampled_from(fields).flatmap(_terms), max_size=3))
    phrases = st.builds(Phrase, _values.filter(lambda value: value.strip("*")), st.booleans())
    return Filter(after, before, tuple(terms), tuple(draw(st.lists(phrases, max_size=2))))


@patient
@given(log=st.lists(events(), max_size=12))
def test_gives_back_whole_events(opened: Callable[[], SearchStore], log: list[Event]) -> None:
    """Whatever an event holds, it comes back equal to what the ledger holds, in order of time and then seq."""
    store = opened()
    recorded = filled(store, log)
    assert all_pages(store, Filter(), 5) == newest_first(recorded)


@patient
@given(log=st.lists(events(), max_size=25), asked=st.lists(filters(), min_size=1, max_size=6), limit=st.integers(1, 7))
def test_filters_mean_what_they_say(
    opened: Callable[[], SearchStore], log: list[Event], asked: list[Filter], limit: int
) -> None:
    """Every filter finds exactly the events it means, on pages that neither overlap nor skip, in both orders."""
    store = opened()
    recorded = filled(store, log)
    for filter in asked:
        wanted = newest_first(matching(recorded, filter))
        assert all_pages(store, filter, limit) == wanted
        assert all_pages(store, filter, limit, "oldest") == wanted[::-1]


@patient
@given(log=st.lists(events(), max_size=25), asked=st.lists(filters(), min_size=1, max_size=4))
def test_facets_count_events(opened: Callable[[], SearchStore], log: list[Event], asked: list[Filter]) -> None:
    """Facets count each event once per value, a field's own terms aside, the most frequent first."""
    store = opened()
    recorded = filled(store, log)
    for filter in asked:
        found = store.facets(filter, FACET_FIELDS, 100, None, GO)
        overview = store.overview(filter, FACET_FIELDS, 100, 30, "UTC", None, GO)
        assert overview.facets == found
        for field in FACET_FIELDS:
            counted = [(value.value, value.count) for value in found[field]]
            assert dict(counted) == facet(matching(recorded, filter, (field,)), field)
            assert counted == sorted(counted, key=lambda pair: (-pair[1], pair[0].encode()))
        wanted = matching(recorded, filter)
        moments = [each.occurred_at for each in wanted]
        assert overview.extent.count == len(wanted)
        assert (overview.extent.first, overview.extent.last) == (min(moments, default=None), max(moments, default=None))
        assert store.extent(filter, None, GO) == overview.extent


@patient
@given(
    log=st.lists(events(), max_size=25),
    filter=filters(),
    buckets=st.integers(1, 60),
    tz=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]),
)
def test_histogram_covers_everything(
    opened: Callable[[], SearchStore], log: list[Event], filter: Filter, buckets: int, tz: str
) -> None:
    """Buckets are gapless, few, aligned, and each holds exactly the events that occurred in it, by outcome."""
    store = opened()
    recorded = matching(filled(store, log), filter)
    histogram = store.histogram(filter, buckets, tz, None, GO)
    assert histogram == store.overview(filter, [], 1, buckets, tz, None, GO).histogram or filter.before is None
    starts = [bucket.start for bucket in histogram.buckets]
    assert len(starts) <= buckets + 2
    assert starts == sorted(set(starts))
    if histogram.step_s >= 86_400:
        assert {start.astimezone(ZoneInfo(tz)).time().isoformat() for start in starts} == {"00:00:00"}
    ends = [*starts[1:], datetime.max.replace(tzinfo=UTC)]
    for bucket, end in zip(histogram.buckets, ends, strict=True):
        inside = Counter(each.outcome for each in recorded if bucket.start <= each.occurred_at < end)
        assert (
            Counter({name: getattr(bucket, name) for name in OUTCOMES})
            == Counter({name: 0 for name in OUTCOMES}) + inside
        )
    assert sum(bucket.total for bucket in histogram.buckets) == len(recorded)


@patient
@given(log=st.lists(events(), min_size=1, max_size=20), filter=filters(), place=st.integers(0, 19))
def test_neighbours_are_next_to_it(
    opened: Callable[[], SearchStore], log: list[Event], filter: Filter, place: int
) -> None:
    """Neighbours are the nearest matching events on both sides, whether or not the event itself matches."""
    store = opened()
    recorded = filled(store, log)
    here = recorded[place % len(recorded)]
    order = newest_first({each.seq: each for each in [*matching(recorded, filter), here]}.values())
    at = order.index(here)
    newer = order[at - 1].seq if at > 0 else None
    older = order[at + 1].seq if at + 1 < len(order) else None
    assert store.neighbours(here.seq, filter, GO) == (newer, older)


@patient
@given(log=st.lists(events(), min_size=1, max_size=12), parts=st.sets(st.tuples(st.integers(0, 11), st.booleans())))
def test_erased_parts_are_empty(
    opened: Callable[[], SearchStore], log: list[Event], parts: set[tuple[int, bool]]
) -> None:
    """An event whose who or what was erased is still there, without what was in it, and says so."""
    store = opened()
    whole = bundle_of(log)
    bundle = erased(whole, {at for at, is_who in parts if is_who}, {at for at, is_who in parts if not is_who})
    store.ingest([bundle])
    assert all_pages(store, Filter(), 50) == newest_first(list(bundle.events()))


def test_facets_count_an_event_once_per_target(opened: Callable[[], SearchStore]) -> None:
    """Further targets of one id under several names are one target of their event."""
    store = opened()
    targets = [Target("key", "k1"), Target("user", "u1", "Alice"), Target("key", "u1", "The key"), Target("key", "k1")]
    filled(store, [event(targets=targets)])
    found = store.facets(Filter(), ["target", "target_type"], 10, None, GO)
    assert {value.value: value.count for value in found["target"]} == {"k1": 1, "u1": 1}
    assert {value.value: value.count for value in found["target_type"]} == {"key": 1, "user": 1}


def test_head_hides_what_came_later(opened: Callable[[], SearchStore]) -> None:
    """With a head, events at or above it are in no answer, so that pages never shift."""
    store = opened()
    recorded = filled(store, many(60))
    older = [each for each in recorded if each.seq < 40]
    assert store.page(Filter(), 100, None, "newest", 40, GO).events == newest_first(older)
    assert store.extent(Filter(), 40, GO).count == 40
    assert sum(value.count for value in store.facets(Filter(), ["action"], 50, 40, GO)["action"]) == 40
    assert store.page(Filter(), 100, None, "newest", 61, GO).complete is False


def test_seen_actions(opened: Callable[[], SearchStore]) -> None:
    """Every action that occurs is listed with its count and its first and last time, of all events or of a time range."""
    store = opened()
    recorded = filled(store, many(100))
    middle = sorted(one.occurred_at for one in recorded)[50]
    for asked, meant in (
        (Filter(), recorded),
        (Filter(after=middle), [one for one in recorded if one.occurred_at >= middle]),
        (Filter(before=middle), [one for one in recorded if one.occurred_at < middle]),
    ):
        seen = {each.action: each for each in store.seen_actions(asked, GO)}
        assert {action: each.count for action, each in seen.items()} == Counter(each.action for each in meant)
        for action, each in seen.items():
            moments = [one.occurred_at for one in meant if one.action == action]
            assert (each.first, each.last) == (min(moments), max(moments))


def test_an_action_that_is_counted_is_found_that_often(opened: Callable[[], SearchStore]) -> None:
    """Beside `is:` and `category:`, which stand for actions too, no action is counted that asking for it does not find."""
    store = opened()
    filled(store, [event(at, action=action) for at, action in enumerate(ACTIONS * 3)])
    for text in ("is:sensitive", "-is:sensitive", "category:authentication", "category:authentication action:logout"):
        asked = parse(text)
        counted = store.facets(asked, ["action"], 100, None, GO)["action"]
        assert counted
        for value in counted:
            only = Filter(terms=tuple(term for term in asked.terms if term.field != "action"))
            assert store.extent(only.including("action", value.value), None, GO).count == value.count


def test_refuses_what_makes_no_sense(opened: Callable[[], SearchStore]) -> None:
    """Limits, fields and zones that there are not are refused."""
    store = opened()
    with pytest.raises(InvalidQuery):
        store.page(Filter(), 0, None, "newest", None, GO)
    with pytest.raises(InvalidQuery):
        store.facets(Filter(), ["metadata"], 5, None, GO)
    with pytest.raises(InvalidQuery):
        store.histogram(Filter(), 5, "Nowhere", None, GO)
    with pytest.raises(NotFound):
        store.neighbours(0, Filter(), GO)


def test_values_are_never_sql(opened: Callable[[], SearchStore]) -> None:
    """A value that looks like SQL is looked for, nothing else."""
    store = opened()
    filled(store, [event(message="'; DROP TABLE event; --"), event(1)])
    assert store.extent(parse('"\'; DROP TABLE event; --"'), None, GO).count == 1
    assert store.extent(parse('actor:"\' OR 1=1 --"'), None, GO).count == 0


def test_finds_text_in_long_events(opened: Callable[[], SearchStore]) -> None:
    """A phrase is found in whichever text it is, also beside very long ones, and never across two texts."""
    store = opened()
    long = "x" * 5_000
    log = [
        event(0, message=long + "Needle"),
        event(1, message="Needle", metadata={"k": long}),
        event(2, message="a needle"),
        event(3, targets=[Target("user", "nee", "dle")], metadata={"k": "nee", "l": "dle"}),
        event(4, targets=[Target("user", "nee", "dle")], message=long),
        event(5, metadata={"k": 'say "NEEDLE"\n'}),
    ]
    recorded = filled(store, log)
    for asked in ("needle", "nee*dle", "-needle", '"say \\"needle\\""', '"*\\"*"'):
        wanted = newest_first(matching(recorded, parse(asked)))
        assert all_pages(store, parse(asked), 2) == wanted
    assert [each.seq for each in all_pages(store, parse("needle"), 9)] == [5, 2, 1, 0]


def test_forgets_what_was_pruned(opened: Callable[[], SearchStore], tmp_path: Path) -> None:
    """Forgotten events are in no answer, and after rewriting their bytes are not in the file either."""
    store = opened()
    secret = "Zacharias-Quarrington"
    store.ingest([bundle_of([event(message=secret + str(at) * 40) for at in range(300)])])
    store.ingest([bundle_of(many(100), 300)])
    assert store.forget(256) == 256
    assert not store.is_clean
    assert [store.position, store.rows(), store.minimum_index] == [400, 144, 256]
    assert store.forget(300) == 44
    rewritten = tmp_path / "rewritten"
    store.rewrite(rewritten, GO)
    store.close()
    other = DuckDBStore(rewritten)
    assert other.is_clean
    assert [other.position, other.rows(), other.minimum_index] == [400, 100, 300]
    other.ingest([bundle_of(many(5, seed=3), 400)])
    other.close()
    assert secret.encode() not in rewritten.read_bytes()


def test_pruned_bundles_move_the_position(opened: Callable[[], SearchStore]) -> None:
    """A pruned bundle brings no rows, and what follows it is taken."""
    store = opened()
    pruned = bundle_of(many(256))
    for name in ("heads", "whos", "whats"):
        object.__setattr__(pruned, name, [])
    store.ingest([pruned, bundle_of(many(10), 256)])
    assert [store.position, store.rows()] == [266, 10]


def test_refuses_another_ledger(opened: Callable[[], SearchStore]) -> None:
    """A ledger whose event before the position is another one, or that leaves a gap, is not this one."""
    store = opened()
    store.ingest([bundle_of(many(10))])
    store.ingest([bundle_of(many(3), 10)])
    with pytest.raises(Corrupt):
        store.ingest([bundle_of(many(20, seed=5), 12)])
    with pytest.raises(Corrupt):
        store.ingest([bundle_of(many(3), 14)])
    assert [store.position, store.rows()] == [13, 13]


def _exported(store: SearchStore, filter: Filter, format: str, path: Path) -> list[dict[str, object]]:
    made = store.export(filter, None, format, path, False, lambda _: None, GO)  # type: ignore[arg-type]
    lines = path.read_bytes().splitlines()
    assert made.rows == len(lines)
    return [json.loads(line) for line in lines]


@patient
@given(log=st.lists(events(), max_size=12), filter=filters())
def test_json_lines_are_the_api_event(
    opened: Callable[[], SearchStore], tmp_path: Path, log: list[Event], filter: Filter
) -> None:
    """Each line of a JSON lines export says what the API says of the event, key by key, newest first."""
    import msgspec

    store = opened()
    wanted = newest_first(matching(filled(store, log), filter))
    found = _exported(store, filter, "jsonl", tmp_path / "out.jsonl")
    assert found == [json.loads(msgspec.json.encode(each)) for each in wanted]
    assert [list(line) for line in found] == [list(json.loads(msgspec.json.encode(each))) for each in wanted]


def test_csv_rules(opened: Callable[[], SearchStore], tmp_path: Path) -> None:
    """CSV: RFC 4180 with CRLF, several targets joined, dangerous cells neutralised, columns in their order."""
    import csv
    import io

    store = opened()
    dangers = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx"]
    log = [event(at, message=text) for at, text in enumerate(dangers)]
    log.append(
        event(
            10,
            message='say "hi",\nyou',
            targets=[Target("user", "=u", "=Bob"), Target("user", "u2", None, "eve@example.com"), Target("user", "u3")],
            changes=[Change("role", None, "admin")],
            metadata={"k": "=v"},
            context=Context(ip="::1", user_agent="+agent"),
            tenant="acme",
        )
    )
    filled(store, log)
    path = tmp_path / "out.csv"
    store.export(Filter(), None, "csv", path, True, lambda _: None, GO)
    content = path.read_bytes()
    assert content.startswith(
        b"\xef\xbb\xbfTimestamp (UTC),Actor,Action,Target,IP Address,User Agent,id,seq,recorded_at,"
    )
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["message"] for row in rows] == ['say "hi",\nyou', *("'" + text for text in reversed(dangers))]
    first = rows[0]
    assert first["Timestamp (UTC)"] == "2026-03-27T22:00:10Z"
    assert first["Target"] == "'=Bob; eve@example.com; u3"
    assert first["User Agent"] == "'+agent"
    assert first["IP Address"] == "::1"
    assert json.loads(first["targets_json"])[0] == {"type": "user", "id": "=u", "name": "=Bob"}
    assert json.loads(first["changes_json"]) == [{"field": "role", "after": "admin"}]
    assert json.loads(first["metadata_json"]) == {"k": "=v"}
    assert content.count(b"\r\n") == 1 + len(log)
    assert b'""' not in content.replace(b'""hi""', b"").split(b"\r\n")[-2]


def test_parquet_is_exact(opened: Callable[[], SearchStore], tmp_path: Path) -> None:
    """Parquet has times as times, texts as they are, and nulls where there is nothing."""
    import duckdb

    store = opened()
    recorded = newest_first(filled(store, [*many(50), event(message="=1+1", tenant="acme")]))
    path = tmp_path / "out.parquet"
    assert store.export(Filter(), None, "parquet", path, False, lambda _: None, GO).rows == 51
    rows = duckdb.sql(f"SELECT occurred_at, seq, message, tenant, actor_id FROM '{path}'").fetchall()
    assert rows == [
        (each.occurred_at.replace(tzinfo=None), each.seq, each.message, each.tenant, each.actor and each.actor.id)
        for each in recorded
    ]
