"""The index is disposable: whatever happens to its file or to the ledger, search becomes the ledger's copy again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from opssentinal.back import Back
from opssentinal.config import Config
from opssentinal.errors import Unavailable
from opssentinal.events.model import Event, RecordedEvent
from opssentinal.ledger import reader
from opssentinal.ledger.bundle import Bundle
from opssentinal.ledger.pruning import prune
from opssentinal.query import Filter
from opssentinal.search import feed, wire
from opssentinal.search.client import SearchClient
from opssentinal.search.duckdb import DuckDBStore
from opssentinal.search.duckdb import store as engine
from opssentinal.search.feed import Feed
from opssentinal.search.index import Index
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import Corrupt
from tests.crash import injection
from tests.ledger.conftest import NOW_US, commit, reset_head
from tests.search.conftest import Meanwhile, running
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
    with running(config) as (_, client):
        assert client.extent(Filter()).count == 612
        prune(NOW_US + 1)
        assert client.extent(Filter()).count == 100
        equals_ledger(client)
    assert secret.encode() not in config.search_path.read_bytes()


@pytest.mark.parametrize(("calls", "error"), [("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("fsync,fdatasync", "EIO")])
def test_a_rewrite_that_fails_leaves_the_index_in_use(
    config: Config, monkeypatch: pytest.MonkeyPatch, calls: str, error: str
) -> None:
    """Answers go on being whole and the file stays, also where a question is under way, which the engine gives up too; the bytes of
    forgotten events go once there is room for a second file."""
    injection.require()
    commit([event(n) for n in range(512)], NOW_US)
    commit(many(40), NOW_US + 10_000_000)
    with running(config) as (back, client):
        assert back.feed.catch_up(30)
        inode = config.search_path.stat().st_ino
        made = config.search_path.with_name(config.search_path.name + ".rewritten")
        with injection.failing(
            os.getpid(), calls, error, "1+", made, made.with_name(made.name + ".wal"), follow=True
        ) as failed:
            with _question_under_way(back, lambda: failed() > 0):
                prune(NOW_US + 1)
                _until(lambda: failed() > 0)
            _until(lambda: back.feed.error is None)
            for _ in range(3):
                page = client.page(Filter())
                assert page.complete
                assert page.events == newest_first(in_ledger())
            assert config.search_path.stat().st_ino == inode
        monkeypatch.setattr(back.feed, "_rewrite_at", 0.0)
        _until(lambda: config.search_path.stat().st_ino != inode)
        assert client.page(Filter()).complete


@contextmanager
def _question_under_way(back: Back, go_on: Callable[[], bool]) -> Iterator[None]:
    """A question that has begun and goes on when it may; it need not end well."""
    begun = threading.Event()

    def stand_still() -> None:
        begun.set()
        _until(go_on)

    def ask() -> None:
        with suppress(Unavailable, Corrupt):
            back.service._work(
                wire.PageQuestion(Filter(), 10, None, "newest", None), Meanwhile(stand_still), lambda *_: None
            )

    asker = threading.Thread(target=ask)
    asker.start()
    begun.wait(10)
    try:
        yield
    finally:
        asker.join()


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


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


def test_reindex_builds_the_same_again(config: Config) -> None:
    """Reindexing tells its progress, leaves one file, and what is recorded meanwhile is there too."""
    indexed(config, many(300))
    with running(config) as (_, client):
        said: list[tuple[int, int]] = []

        def progress(done: int, total: int) -> None:
            said.append((done, total))

        client.reindex(progress)
        commit([event(1)])
        equals_ledger(client)
        assert all(done <= total for done, total in said)
    assert sorted(path.name for path in config.data_dir.glob("search*")) == ["search.duckdb"]


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
    monkeypatch.setattr(feed, "BATCH_BYTES", 1 << 19)
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
    monkeypatch.setattr(feed, "BATCH_EVENTS", 50)
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


def test_new_file_waits_for_readers_who_wait_for_nothing(config: Config) -> None:
    """While somebody reads for long, an index built again waits, questions are answered at once, and then it is used."""
    indexed(config, many(100))
    with running(config) as (back, client):
        client.status()
        ended = threading.Event()

        def reindex() -> None:
            client.reindex()
            ended.set()

        thread = threading.Thread(target=reindex)
        with back.index.reading() as old:
            thread.start()
            for at in range(10):
                commit([event(at, action=f"round.n{at}")])
                assert client.page(Filter(), limit=1000).complete
                assert not ended.wait(0.1)
            assert back.index.store is old
        thread.join(30)
        assert ended.is_set()
        assert back.index.store is not old
        equals_ledger(client)


def test_stopping_leaves_no_index_half_exchanged(config: Config) -> None:
    """An index built again that could not be put in place before the end is an error, and its file is gone."""
    indexed(config, many(100))
    index = Index(config.search_path, DuckDBStore)
    follower = Feed(index, DuckDBStore)
    follower.start()
    assert follower.catch_up(30)
    errors: list[str] = []

    def reindex() -> None:
        try:
            follower.reindex(lambda done, total: None, Interruption())
        except Unavailable as error:
            errors.append(error.detail)

    with index.reading():
        thread = threading.Thread(target=reindex)
        thread.start()
        assert not threading.Event().wait(0.5)
        follower.stop()
        thread.join(30)
    index.close()
    assert errors == ["Search is stopping."]
    assert sorted(path.name for path in config.data_dir.glob("search*")) == ["search.duckdb"]


def test_pruned_bytes_go_although_the_index_is_built_again(config: Config) -> None:
    """A rewritten file and one built again that wait at the same time both come to their end; none is lost or left."""
    secret = "Zacharias-Quarrington"
    commit([event(at, message=f"{secret} {at}" * 20) for at in range(512)], NOW_US)
    commit(many(100), NOW_US + 10_000_000)
    with running(config) as (back, client):
        assert client.extent(Filter()).count == 612
        thread = threading.Thread(target=client.reindex)
        with back.index.reading():
            prune(NOW_US + 1)
            assert client.extent(Filter()).count == 100
            thread.start()
            assert client.extent(Filter()).count == 100
        thread.join(30)
        assert not thread.is_alive()
        equals_ledger(client)
    assert secret.encode() not in config.search_path.read_bytes()
    assert sorted(path.name for path in config.data_dir.glob("search*")) == ["search.duckdb"]


def test_exchange_that_fails_loses_nothing(tmp_path: Path) -> None:
    """Where the new file is not there to be used, the old one is still used."""
    index = Index(tmp_path / "index", DuckDBStore)
    index.open()
    index.store.ingest([bundle_of(many(10))])
    with pytest.raises(FileNotFoundError):
        index.replace(tmp_path / "missing")
    index.open()
    assert index.store.rows() == 10
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
        _until(lambda: back.feed.error is not None)
        status = client.status()
        assert (status.rebuilding, status.position) == (True, 0)
        with pytest.raises(Unavailable):
            client.page(Filter())
        config.search_path.rmdir()
        _until(lambda: not client.status().rebuilding)
        equals_ledger(client)
