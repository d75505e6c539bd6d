"""A second file that takes the place of the one in use: built again or copied without what was forgotten, beside everything else."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pytest

from opssentinal.back import Back
from opssentinal.config import Config
from opssentinal.errors import Unavailable
from opssentinal.ledger.pruning import prune
from opssentinal.query import Filter
from opssentinal.search import wire
from opssentinal.search.duckdb import DuckDBStore, copying
from opssentinal.search.feed import Feed
from opssentinal.search.index import Index, remove
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import Corrupt, GivenUp
from tests.crash import injection
from tests.ledger.conftest import NOW_US, commit
from tests.search.conftest import Meanwhile, is_clean, is_exchanged, running, store_of, until
from tests.search.events import bundle_of, event, many, newest_first
from tests.search.test_feed import equals_ledger, in_ledger, indexed

pytestmark = pytest.mark.usefixtures("ledger")


SECRET = "Zacharias-Quarrington"


def record_secrets() -> None:
    """512 events that `prune(NOW_US + 1)` takes, each with the secret, and 100 others."""
    commit([event(at, message=f"{SECRET} {at}" * 20) for at in range(512)], NOW_US)
    commit(many(100), NOW_US + 10_000_000)


class Paused:
    """Copies are written, and then wait until they may come to their end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        finish = copying.finish

        def wait(cursor: duckdb.DuckDBPyConnection, position: int, stop: Interruption) -> None:
            self.begun.set()
            while not self.go_on.wait(0.02):
                stop.check()
            finish(cursor, position, stop)

        monkeypatch.setattr(copying, "finish", wait)


def test_search_goes_on_while_a_copy_is_written(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what comes meanwhile is found at once, and is there when the copy is in use, which has none of the bytes."""
    copies = Paused(monkeypatch)
    record_secrets()
    with running(config) as (back, client):
        equals_ledger(client)
        old = back.index.store
        prune(NOW_US + 1)
        client.status()
        assert copies.begun.wait(20)
        for at in range(3):
            commit([event(at, action=f"round.n{at}")], NOW_US + 20_000_000)
            equals_ledger(client)
            assert client.extent(Filter()).count == 101 + at
        assert client.status().reindexing
        assert back.index.store is old
        copies.go_on.set()
        until(lambda: not client.status().reindexing)
        assert back.index.store is not old
        equals_ledger(client)
    assert SECRET.encode() not in config.search_path.read_bytes()
    assert sorted(path.name for path in config.data_dir.glob("search*")) == ["search.duckdb"]


def test_what_is_pruned_while_a_copy_is_written_goes_too(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy of before the second pruning comes into use, forgets what that removed, and is copied in turn."""
    copies = Paused(monkeypatch)
    for part, name in enumerate(("Zacharias", "Quarrington", "Ingersoll")):
        commit([event(at, message=f"{name} {at}" * 20) for at in range(256)], NOW_US + part * 10_000_000)
    with running(config) as (back, client):
        assert back.feed.catch_up(30)
        prune(NOW_US + 1)
        client.status()
        assert copies.begun.wait(20)
        prune(NOW_US + 10_000_001)
        equals_ledger(client)
        old = back.index.store
        copies.go_on.set()
        until(lambda: is_exchanged(back, old))
        equals_ledger(client)
        until(lambda: is_clean(back))
        equals_ledger(client)
    content = config.search_path.read_bytes()
    assert [name in content for name in (b"Zacharias", b"Quarrington")] == [False, False]


def test_an_index_that_is_lost_while_it_is_copied_is_built_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is given up, since it may be of what is not to be used, and search does not wait for it."""
    copies = Paused(monkeypatch)
    commit([event(at) for at in range(512)], NOW_US)
    commit(many(40), NOW_US + 10_000_000)
    with running(config) as (back, client):
        assert back.feed.catch_up(30)
        old = back.index.store
        prune(NOW_US + 1)
        client.status()
        assert copies.begun.wait(20)
        config.search_path.unlink()
        until(lambda: is_exchanged(back, old))
        equals_ledger(client)
        until(lambda: not client.status().reindexing)
    assert sorted(path.name for path in config.data_dir.glob("search*")) == ["search.duckdb"]


def test_a_copy_gives_way_to_an_index_built_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who has asked for that is sent away, and it has none of the bytes either; of two only one is built."""
    copies = Paused(monkeypatch)
    record_secrets()
    with running(config) as (back, client):
        equals_ledger(client)
        prune(NOW_US + 1)
        client.status()
        assert copies.begun.wait(20)

        def again(done: int, total: int) -> None:
            with pytest.raises(Unavailable, match="already"):
                client.reindex()

        client.reindex(again)
        assert is_clean(back)
        equals_ledger(client)
    assert SECRET.encode() not in config.search_path.read_bytes()
    assert sorted(path.name for path in config.data_dir.glob("search*")) == ["search.duckdb"]


def test_stopping_gives_a_copy_up(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start has the old file and makes another copy."""
    commit([event(at) for at in range(512)], NOW_US)
    commit(many(40), NOW_US + 10_000_000)
    with monkeypatch.context() as patching:
        copies = Paused(patching)
        with running(config) as (back, client):
            assert back.feed.catch_up(30)
            prune(NOW_US + 1)
            client.status()
            assert copies.begun.wait(20)
    assert sorted(path.name for path in config.data_dir.glob("search*")) == ["search.duckdb"]
    with running(config) as (back, client):
        equals_ledger(client)
        until(lambda: is_clean(back))


def test_a_copy_that_cannot_be_read_says_nothing_of_the_index(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage of what was just written leaves the file in use as it is; damage met while copying that one is its own."""

    def fail(*_: object) -> None:
        raise duckdb.IOException('IO Error: Could not read from file "search.duckdb.rewritten": Input/output error')

    commit([event(n) for n in range(512)], NOW_US)
    commit(many(40), NOW_US + 10_000_000)
    with running(config) as (back, client):
        equals_ledger(client)
        store = store_of(back)
        with monkeypatch.context() as patching:
            patching.setattr(copying, "finish", fail)
            prune(NOW_US + 1)
            equals_ledger(client)
            until(lambda: back.feed.successor._copy_at > 0 and not back.feed.successor.is_made)
        equals_ledger(client)
        assert store_of(back) is store
        with monkeypatch.context() as patching:
            patching.setattr(copying, "fill", fail)
            patching.setattr(back.feed.successor, "_copy_at", 0.0)
            until(lambda: is_exchanged(back, store))
        until(lambda: back.feed.error is None)
        equals_ledger(client)


def test_damage_is_not_forgotten_for_what_follows_from_it(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever hears that the engine has given the file up, after somebody met damage in it, does not have it opened again."""
    commit(many(5), NOW_US)
    with running(config) as (back, client):
        equals_ledger(client)
        store = store_of(back)
        back.feed.report(store, GivenUp("nothing more is done with it"))
        until(lambda: is_exchanged(back, store))
        until(lambda: back.feed.error is None)
        assert "thrown away" not in caplog.text
        equals_ledger(client)
        again = store_of(back)
        back.feed.report(again, Corrupt("a block of it"))
        back.feed.report(again, GivenUp("nothing more is done with it"))
        until(lambda: is_exchanged(back, again))
        until(lambda: back.feed.error is None)
        assert "thrown away and built again from the ledger: a block of it" in caplog.text
        equals_ledger(client)


def test_a_copy_that_is_given_up_at_any_moment(tmp_path: Path) -> None:
    """Nothing of it stands in the way of the next one, or of the index."""
    store = DuckDBStore(tmp_path / "index", threads=1)
    for at in range(0, 40_000, 4_000):
        store.ingest([bundle_of(many(4_000, seed=at), at)])
    made = tmp_path / "made"
    started = time.monotonic()
    store.rewrite(made, Interruption())
    whole_s = time.monotonic() - started
    for part in range(30):
        remove(made)
        stop, ended = Interruption(), threading.Event()

        def cancel(
            after_s: float = whole_s * part / 30, stop: Interruption = stop, ended: threading.Event = ended
        ) -> None:
            ended.wait(after_s)
            while not ended.is_set():
                stop.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        try:
            with suppress(Unavailable):
                store.rewrite(made, stop)
        finally:
            ended.set()
            canceller.join()
        assert store.rows() == 40_000
    remove(made)
    store.rewrite(made, Interruption())
    store.close()
    copy = DuckDBStore(made)
    assert (copy.rows(), copy.position) == (40_000, 40_000)
    copy.close()


def test_a_copy_is_of_one_moment(tmp_path: Path) -> None:
    """What is written beside it is in it or not, and its position says so; what waits uncommitted is not."""
    store = DuckDBStore(tmp_path / "index", threads=2)
    for at in range(0, 4_000, 500):
        store.ingest([bundle_of(many(500, seed=at), at)])
    store.forget(700)
    ended = threading.Event()

    def write() -> None:
        at = 4_000
        while not ended.is_set():
            store.ingest([bundle_of(many(500, seed=at), at)], may_wait=at % 1_000 == 0)
            at += 500

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            made = tmp_path / f"copy{number}"
            store.rewrite(made, Interruption())
            copy = DuckDBStore(made)
            assert copy.position % 500 == 0
            assert (copy.rows(), copy.minimum_index, copy.is_clean) == (copy.position - 700, 700, True)
            assert [each.seq for each in copy.page(Filter(), 1000, None, "newest", None, Interruption()).events]
            copy.close()
    finally:
        ended.set()
        writer.join()
    assert store.rows() == store.position - 700
    store.close()


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
            store = store_of(back)
            with _question_under_way(back, lambda: failed() > 0):
                prune(NOW_US + 1)
                until(lambda: failed() > 0)
            if calls != "pwrite64":  # after a failed fsync the engine gives up both files
                until(lambda: is_exchanged(back, store))
            in_use = store_of(back)
            until(lambda: not client.status().reindexing and back.feed.error is None)
            assert store_of(back) is in_use
            assert (in_use is store) == (calls == "pwrite64")
            for _ in range(3):
                page = client.page(Filter())
                assert page.complete
                assert page.events == newest_first(in_ledger())
            assert config.search_path.stat().st_ino == inode
        monkeypatch.setattr(back.feed.successor, "_copy_at", 0.0)
        until(lambda: config.search_path.stat().st_ino != inode)
        assert client.page(Filter()).complete


@contextmanager
def _question_under_way(back: Back, go_on: Callable[[], bool]) -> Iterator[None]:
    """A question that has begun and goes on when it may; it need not end well."""
    begun = threading.Event()

    def stand_still() -> None:
        begun.set()
        until(go_on)

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
            follower.successor.build(lambda done, total: None, Interruption())
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
    """A copy that waits until it can be used gives way to the index built again; neither is lost or left."""
    record_secrets()
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
    assert SECRET.encode() not in config.search_path.read_bytes()
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
