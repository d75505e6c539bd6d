"""The index is disposable: whatever happens to its file or to the ledger, search becomes the ledger's copy again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from django.core.management import call_command

from opssentinal.config import Config
from opssentinal.errors import Unavailable
from opssentinal.events.model import Event, RecordedEvent
from opssentinal.ledger import reader
from opssentinal.ledger.bundle import Bundle
from opssentinal.ledger.pruning import prune
from opssentinal.query import Filter
from opssentinal.search import bringing, feed
from opssentinal.search.client import Page, SearchClient
from opssentinal.search.duckdb import DuckDBStore
from opssentinal.search.duckdb import store as engine
from opssentinal.search.feed import Feed
from opssentinal.search.index import Index
from opssentinal.search.store import Corrupt
from tests.ledger.conftest import NOW_US, commit, reset_head
from tests.search.conftest import is_clean, running, until
from tests.search.events import bundle_of, event, many, newest_first

pytestmark = pytest.mark.usefixtures("ledger")


def in_ledger() -> list[RecordedEvent]:
    """Every event of the ledger."""
    return [each for bundle in reader.bundles_after(0, 10**9) for each in bundle.events()]


def equals_ledger(client: SearchClient) -> None:
    """Search has exactly the events of the ledger."""
    page = client.page(Filter(), limit=1000)
    assert page.complete
    assert page.events == newest_first(in_ledger())
    status = client.status()
    assert (status.error, status.rebuilding, status.position) == (None, False, status.ledger_size)


def indexed(config: Config, events: Iterable[Event]) -> None:
    """Record events and have a back index and leave them."""
    commit(list(events))
    with running(config) as (_, client):
        equals_ledger(client)


def _garbage(config: Config) -> None:
    config.search_path.write_bytes(b"not an index at all" * 1000)


def _truncated(config: Config) -> None:
    content = config.search_path.read_bytes()
    config.search_path.write_bytes(content[: len(content) // 2])


def _empty(config: Config) -> None:
    config.search_path.write_bytes(b"")


def _damaged_block(config: Config) -> None:
    """All but the headers is overwritten; the checksums tell."""
    content = bytearray(config.search_path.read_bytes())
    content[12_288:] = bytes(byte ^ 0x5A for byte in content[12_288:])
    config.search_path.write_bytes(content)


def _missing(config: Config) -> None:
    config.search_path.unlink()


def _other_layout(config: Config) -> None:
    import duckdb

    with duckdb.connect(str(config.search_path)) as connection:
        connection.execute("UPDATE meta SET layout = '0 of old'")


def _other_tables(config: Config) -> None:
    import duckdb

    config.search_path.unlink()
    with duckdb.connect(str(config.search_path)) as connection:
        connection.execute("CREATE TABLE somebody_elses (x INTEGER)")


def _foreign(config: Config) -> None:
    config.search_path.unlink()
    store = DuckDBStore(config.search_path)
    store.ingest([bundle_of(many(60, seed=9))])
    store.close()


def _ahead(config: Config) -> None:
    store = DuckDBStore(config.search_path)
    store.ingest([bundle_of(many(5, seed=9), store.position)])
    store.close()


def _leftover_log(config: Config) -> None:
    config.search_path.with_name(config.search_path.name + ".wal").write_bytes(b"left over by a crash" * 100)


@pytest.mark.parametrize(
    "break_it",
    [
        _garbage, _truncated, _empty, _damaged_block, _missing, _other_layout, _other_tables, _foreign, _ahead,
        _leftover_log,
    ],
)  # fmt: skip
def test_broken_index_is_built_again(config: Config, break_it: Callable[[Config], None]) -> None:
    """A damaged, missing, outdated, foreign or too new index file is never fatal: search equals the ledger again."""
    indexed(config, many(60))
    break_it(config)
    with running(config) as (_, client):
        client.status()
        equals_ledger(client)
        commit([event(5)])
        equals_ledger(client)


def test_replaced_ledger_is_noticed_at_work(config: Config) -> None:
    """The database is restored from elsewhere while the back runs: the index follows the new one."""
    commit(many(50))
    with running(config) as (_, client):
        equals_ledger(client)
        reset_head()
        commit(many(30, seed=7))
        client.status()
        equals_ledger(client)
        reset_head()
        commit(many(80, seed=8))
        client.status()
        equals_ledger(client)


def test_pruned_events_are_forgotten(config: Config) -> None:
    """What retention prunes disappears from search by itself, and its bytes from the file."""
    secret = "Zacharias-Quarrington"
    commit([event(at, message=f"{secret} {at}" * 20) for at in range(512)], NOW_US)
    commit(many(100), NOW_US + 10_000_000)
    with running(config) as (back, client):
        assert client.extent(Filter()).count == 612
        prune(NOW_US + 1)
        assert client.extent(Filter()).count == 100
        equals_ledger(client)
        until(lambda: is_clean(back))
    assert secret.encode() not in config.search_path.read_bytes()


def test_nobody_waits_for_an_index_that_cannot_be_fed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question is answered in a moment from what is there, and the answer says that it may lack some."""
    commit(many(5), NOW_US)
    with running(config) as (back, client):
        assert back.feed.catch_up(30)

        def fail() -> None:
            raise Unavailable("The disk of the search index is full.", code="disk_full")

        monkeypatch.setattr(back.feed, "_follow", fail)
        started = time.monotonic()
        pages = [client.page(Filter()) for _ in range(5)]
        assert time.monotonic() - started < 8
        assert not any(page.complete for page in pages)
        assert all(len(page.events) == 5 for page in pages)


def test_the_command_says_that_the_newest_events_are_missing(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where only the first of several pages lacked them, since the others go back from its head."""
    commit(many(1_200), NOW_US)
    with running(config) as (back, _):
        assert back.feed.catch_up(30)
        call_command("search", limit=1_100)
        assert "Only the first 1,100" in capsys.readouterr().err
        follow, page = back.feed._follow, SearchClient.page

        def fail() -> None:
            raise Unavailable("The disk of the search index is full.", code="disk_full")

        def then_well(*args: Any, **options: Any) -> Page:
            found = page(*args, **options)
            monkeypatch.setattr(back.feed, "_follow", follow)
            until(lambda: back.feed.error is None)
            return found

        monkeypatch.setattr(back.feed, "_follow", fail)
        until(lambda: back.feed.error is not None)
        monkeypatch.setattr(SearchClient, "page", then_well)
        call_command("search", limit=1_100)
        assert "lacks the newest events" in capsys.readouterr().err


def test_an_index_that_is_not_open_yet_is_not_said_to_be_well(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a long log after a crash takes a while, in which nothing can be found."""
    indexed(config, many(10))
    go_on, opened = threading.Event(), Index.open

    def open_late(index: Index) -> None:
        assert go_on.wait(20)
        opened(index)

    monkeypatch.setattr(Index, "open", open_late)
    with running(config) as (_, client):
        assert client.status().rebuilding
        go_on.set()
        equals_ledger(client)


def test_starts_with_an_empty_ledger(config: Config) -> None:
    """With nothing recorded everything is answered, with nothing."""
    with running(config) as (_, client):
        assert client.page(Filter()).events == []
        overview = client.overview(Filter(), ["action", "target_type"])
        assert overview.facets == {"action": [], "target_type": []}
        assert overview.extent.count == 0
        assert client.status().rows == 0


class Watched(DuckDBStore):
    """A store that notes how much text each batch brought."""

    batches: list[int]

    def ingest(self, bundles: Sequence[Bundle], *, may_wait: bool = False) -> int:
        """Note and go on."""
        lines = [line for bundle in bundles for part in (bundle.heads, bundle.whos, bundle.whats) for line in part]
        self.batches.append(sum(map(len, lines)))
        return super().ingest(bundles, may_wait=may_wait)


def test_batches_are_bounded_by_their_text(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large events are, a batch holds no more text than its bound and one bundle, and everything arrives."""
    monkeypatch.setattr(bringing, "BATCH_BYTES", 1 << 19)
    monkeypatch.setattr(Watched, "batches", [], raising=False)
    for part in range(10):
        commit([event(part * 20 + at, metadata={"text": f"{part} {at} " * 2_000}) for at in range(20)])
    in_bundle = max(sum(map(len, bundle.whats)) for bundle in reader.bundles_after(0)) * 1.1
    index = Index(config.search_path, Watched)
    follower = Feed(index, Watched)
    follower.start()
    try:
        assert follower.catch_up(30)
        assert index.store.rows() == 200
        assert len(Watched.batches) >= 3
        assert max(Watched.batches) <= (1 << 19) + in_bundle
    finally:
        follower.stop()
        index.close()


class Overtaken(DuckDBStore):
    """A store under which the ledger is replaced by a shorter one after the first batch."""

    is_first = True

    def ingest(self, bundles: Sequence[Bundle], *, may_wait: bool = False) -> int:
        """Take the batch in, then replace the ledger, once."""
        position = super().ingest(bundles, may_wait=may_wait)
        if Overtaken.is_first:
            Overtaken.is_first = False
            reset_head()
            commit(many(30, seed=7))
        return position


def test_ledger_replaced_between_batches(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The follower does not wait for events that will never come, but follows what is there now."""
    monkeypatch.setattr(bringing, "BATCH_EVENTS", 50)
    monkeypatch.setattr(Overtaken, "is_first", True)
    for part in range(10):
        commit(many(50, seed=part))
    index = Index(config.search_path, Overtaken)
    follower = Feed(index, Overtaken)
    follower.start()
    try:
        deadline = time.monotonic() + 30
        found = (0, 0)
        while found != (30, 30):
            assert time.monotonic() < deadline
            assert follower.catch_up(30)
            with index.reading() as store:
                found = store.position, store.rows()
    finally:
        follower.stop()
        index.close()


def test_the_file_is_written_when_nothing_new_comes(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has nothing to do leaves no long log for the next start to read."""
    monkeypatch.setattr(engine, "_SETTLED_ROWS", 100)
    monkeypatch.setattr(feed, "SETTLES_AFTER_S", 0.2)
    log = config.search_path.with_name(config.search_path.name + ".wal")
    commit(many(200))
    with running(config) as (_, client):
        equals_ledger(client)
        deadline = time.monotonic() + 20
        while log.exists() and log.stat().st_size:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        equals_ledger(client)


def test_an_index_that_is_lost_beside_a_question_is_not_taken_for_a_whole_one(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that has waited until search had everything meets an empty file: it says so."""
    indexed(config, many(10))
    with running(config) as (back, client):
        catch_up = back.feed.catch_up

        def caught_up_and_lost(timeout_s: float) -> int | None:
            reached = catch_up(timeout_s)
            back.feed.stop()  # so that nothing fills it again
            back.index.discard(Corrupt("lost"))
            return reached

        monkeypatch.setattr(back.feed, "catch_up", caught_up_and_lost)
        for ask in (client.page, client.extent):
            with pytest.raises(Unavailable, match="does not reach so far"):
                ask(Filter())


def test_damage_of_a_store_that_is_not_in_use_any_more_is_let_go(config: Config) -> None:
    """Who reads one that was closed meanwhile tells of damage late: the one in its place stays."""
    commit(many(5), NOW_US)
    with running(config) as (back, client):
        assert back.feed.catch_up(30)
        store, other = back.index.store, DuckDBStore(config.search_path.with_name("other"))
        back.feed.report(other, Corrupt("met in a store of before"))
        other.close()
        equals_ledger(client)
        assert back.index.store is store
        back.feed.report(store, Corrupt("met in this one"))
        back.feed.catch_up(30)
        assert back.index.store is not store
        equals_ledger(client)


def test_a_question_waits_for_the_turn_after_one_that_failed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails once mostly goes well a moment later, and then nobody is told that events are missing."""
    commit(many(5), NOW_US)
    with running(config) as (back, client):
        assert back.feed.catch_up(30)
        failing, follow = iter([True]), back.feed._follow

        def fail_once() -> None:
            if next(failing, False):
                raise Unavailable("The disk of the search index is full.", code="disk_full")
            follow()

        monkeypatch.setattr(back.feed, "_follow", fail_once)
        commit(many(3, 2), NOW_US)
        assert client.extent(Filter()).count == 8


def test_an_index_that_cannot_even_be_begun(config: Config) -> None:
    """Whoever asks how search stands is not told that all is well; once there is room for the file, it heals by itself."""
    commit(many(5), NOW_US)
    config.search_path.mkdir(parents=True)
    with running(config) as (back, client):
        until(lambda: back.feed.error is not None)
        status = client.status()
        assert (status.rebuilding, status.position) == (True, 0)
        with pytest.raises(Unavailable):
            client.page(Filter())
        config.search_path.rmdir()
        until(lambda: not client.status().rebuilding)
        equals_ledger(client)
