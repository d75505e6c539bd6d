"""What lies far behind is loaded in portions, several at once: the same index comes of it, however the work ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from opssentinal.config import Config
from opssentinal.errors import Unavailable
from opssentinal.events.model import RecordedEvent
from opssentinal.ledger.bundle import Bundle
from opssentinal.query import Filter, parse
from opssentinal.search.duckdb import DuckDBStore, loading
from opssentinal.search.feed import Feed
from opssentinal.search.index import Index
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import Corrupt
from tests.ledger.conftest import NOW_US, commit
from tests.search.conftest import running
from tests.search.events import bundle_of, erased, event, many, newest_first
from tests.search.test_feed import equals_ledger
from tests.search.test_held import fill, prune

_PORTION = 100
_GO = Interruption()


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of a hundred events."""
    monkeypatch.setattr(loading, "PORTION_EVENTS", _PORTION)


class Log:
    """A ledger of `count` events in bundles of 30, some of them erased, which is read from several threads."""

    def __init__(self, count: int = 1_030, seed: int = 1) -> None:
        made = many(count, seed)
        self.bundles = [
            erased(bundle_of(made[at : at + 30], at), {3, 4}, {4, 29}) for at in range(0, count, 30)
        ]  # fmt: skip
        self.threads: set[str] = set()

    def read(self, first_seq: int, end_seq: int) -> Generator[Bundle]:
        self.threads.add(threading.current_thread().name)
        for bundle in self.bundles:
            if bundle.end_seq >= first_seq and bundle.first_seq < end_seq:
                yield bundle.since(max(first_seq - 1, 0)).until(end_seq)

    def rest(self, store: DuckDBStore) -> int:
        """Bring what no portion has, as the follower does."""
        return store.ingest([each.since(store.position) for each in self.bundles if each.end_seq > store.position])

    def events(self, below: int) -> list[RecordedEvent]:
        return newest_first([each for bundle in self.bundles for each in bundle.events() if each.seq < below])


def holds(store: DuckDBStore, events: Sequence[RecordedEvent]) -> None:
    """The store has exactly these events, and says so in every way."""
    found, after, head = [], None, None
    while True:
        page = store.page(Filter(), 400, after, "newest", head, _GO)
        found += page.events
        after, head = page.next, page.head
        if after is None:
            break
    assert found == events
    assert store.rows() == len(events)
    assert store.extent(Filter(), None, _GO).count == len(events)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_loaded_is_as_if_ingested(tmp_path: Path, threads: int) -> None:
    """Event by event, after each portion and after opening it again; and events can be added before and after."""
    log = Log()
    store = DuckDBStore(tmp_path / "index", threads=threads)
    store.ingest(log.bundles[:2])
    positions = []
    for position in store.load(1_029, log.read):
        positions.append(position)
        holds(store, log.events(position))
    assert positions == [60 + _PORTION * n for n in range(1, 10)]
    assert list(store.load(1_029, log.read)) == []
    assert log.rest(store) == 1_030
    holds(store, log.events(1_030))
    assert len(log.threads) <= threads
    store.close()
    again = DuckDBStore(tmp_path / "index", threads=threads)
    assert again.position == 1_030
    holds(again, log.events(1_030))
    again.close()


def test_rows_are_in_the_order_of_the_log(tmp_path: Path) -> None:
    """Although portions are filled side by side: old events and new ones stay in blocks of their own."""
    log = Log()
    store = DuckDBStore(tmp_path / "index", threads=3)
    list(store.load(1_000, log.read))
    store.close()
    with duckdb.connect(str(tmp_path / "index"), read_only=True) as connection:
        seqs = [seq for (seq,) in connection.execute("SELECT seq FROM event ORDER BY rowid").fetchall()]
        assert connection.execute("SELECT position FROM meta").fetchall() == [(1_000,)]
    assert seqs == list(range(1_000))


def test_stopping_keeps_what_was_committed(tmp_path: Path) -> None:
    """Where nobody asks for the next portion, those under way leave nothing behind, and the work goes on later."""
    log = Log()
    store = DuckDBStore(tmp_path / "index", threads=3)
    with closing(store.load(1_000, log.read)) as positions:
        assert next(positions) == _PORTION
        assert next(positions) == 2 * _PORTION
    holds(store, log.events(200))
    store.close()
    store = DuckDBStore(tmp_path / "index", threads=3)
    assert store.position == 200
    holds(store, log.events(200))
    assert list(store.load(1_000, log.read))[-1] == 1_000
    log.rest(store)
    holds(store, log.events(1_030))
    store.close()


def test_an_error_of_reading_is_raised_in_order(tmp_path: Path) -> None:
    """Portions before it are there, those after it are not, though they may have been filled first."""
    log = Log()

    def read(first_seq: int, end_seq: int) -> Generator[Bundle]:
        if first_seq == 300:
            raise Unavailable("The disk is tired.")
        yield from log.read(first_seq, end_seq)

    store = DuckDBStore(tmp_path / "index", threads=4)
    with pytest.raises(Unavailable, match="tired"):
        list(store.load(1_000, read))
    assert store.position == 300
    holds(store, log.events(300))
    assert log.rest(store) == 1_030
    holds(store, log.events(1_030))
    store.close()


@pytest.mark.parametrize("changed", [200, 500])
def test_replaced_ledger_is_noticed(tmp_path: Path, changed: int) -> None:
    """A portion that does not go on from the one before it is not taken in: the ledger is another one by then."""
    log, other = Log(), Log(seed=2)

    def read(first_seq: int, end_seq: int) -> Generator[Bundle]:
        return (other if first_seq >= changed else log).read(first_seq, end_seq)

    store = DuckDBStore(tmp_path / "index", threads=2)
    with pytest.raises(Corrupt):
        list(store.load(1_000, read))
    holds(store, log.events(changed))
    store.close()


def test_a_gap_is_never_taken_in(tmp_path: Path) -> None:
    """Where bundles are missing in the middle of a portion, the index ends before it."""
    log = Log()
    del log.bundles[7]  # 210 to 239
    store = DuckDBStore(tmp_path / "index", threads=2)
    with pytest.raises(Corrupt):
        list(store.load(1_000, log.read))
    holds(store, log.events(200))
    store.close()


def test_large_events_end_a_portion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A portion of more text than its bound is taken in as far as it came, and everything after it is left."""
    monkeypatch.setattr(loading, "PORTION_TEXT_BYTES", 30_000)
    monkeypatch.setattr("opssentinal.search.duckdb.ingestion.EVENTS_AT_ONCE", 10)
    log = Log()
    store = DuckDBStore(tmp_path / "index", threads=3)
    [position] = store.load(1_000, log.read)
    assert 0 < position < _PORTION
    holds(store, log.events(position))
    log.rest(store)
    holds(store, log.events(1_030))
    store.close()


class LongLog(Log):
    """So many events that portions are whole row groups of the engine: the same ones again and again."""

    def __init__(self, portions: int) -> None:
        first = bundle_of(many(4_096))
        self.bundles = [
            Bundle(at, 4_096, first.recorded_from_us, first.recorded_to_us, first.heads, first.whos, first.whats)
            for at in range(0, portions * 122_880, 4_096)
        ]
        self.threads = set()


_KILLED = """
import os, signal, sys
from pathlib import Path
from opssentinal.search.duckdb import DuckDBStore, loading
from tests.search.test_loading import Log, LongLog
log = Log() if sys.argv[2] == "100" else LongLog(7)
portion = loading.PORTION_EVENTS = int(sys.argv[2])
def read(first_seq, end_seq):
    for bundle in log.read(first_seq, end_seq):
        if first_seq == 5 * portion and bundle.end_seq > first_seq + portion // 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield bundle
list(DuckDBStore(Path(sys.argv[1]), threads=2).load(7 * portion, read))
"""


@pytest.mark.parametrize("portion", [_PORTION, 122_880])
def test_killed_while_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portion: int) -> None:
    """Whatever was under way: the index has the events below its position, each once, and goes on from there.

    Rows of small portions are in the engine's log by then, those of whole row groups in its file.
    """
    monkeypatch.setattr(loading, "PORTION_EVENTS", portion)
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path / "index"), str(portion)], check=False, timeout=300
    )
    assert done.returncode == -signal.SIGKILL
    log = Log() if portion == _PORTION else LongLog(7)
    store = DuckDBStore(tmp_path / "index", threads=2)
    position = store.position
    if portion == _PORTION:
        holds(store, log.events(position))
    store.close()
    assert position in (4 * portion, 5 * portion)
    assert _seqs(tmp_path / "index") == (position, position, 0, position - 1)
    store = DuckDBStore(tmp_path / "index", threads=2)
    assert list(store.load(7 * portion, log.read))[-1] == 7 * portion
    store.close()
    assert _seqs(tmp_path / "index") == (7 * portion, 7 * portion, 0, 7 * portion - 1)


def _seqs(path: Path) -> tuple[int, ...]:
    """Of the closed index there: how many rows, how many different seqs, the first and the last."""
    with duckdb.connect(str(path), read_only=True) as connection:
        [found] = connection.execute("SELECT count(*), count(DISTINCT seq), min(seq), max(seq) FROM event").fetchall()
    return tuple(found)


def test_new_and_rebuilt_index_equal_the_ledger(config: Config, ledger: Callable[[], None]) -> None:
    """Also where events were pruned but some of them held, at the edges of portions too."""
    fill()
    prune("actor:usr_mallory")
    commit(many(333), NOW_US + 20_000_000)
    with running(config) as (back, client):
        equals_ledger(client)
        client.reindex(lambda done, total: None)
        equals_ledger(client)
        held = client.page(parse("actor:usr_mallory"), limit=1000, order="oldest").events
        assert sorted(each.seq for each in held) == [0, 10, 11, 255, 511]
        commit(many(450, seed=3), NOW_US + 30_000_000)
        equals_ledger(client)
        assert back.index.store.is_clean


def test_stopped_reindexing_leaves_the_index_in_use(config: Config, ledger: Callable[[], None]) -> None:
    """Whoever asked for a new index goes away in the middle: the old one answers, and nothing is left of the new one."""
    commit(many(1_000))
    index = Index(config.search_path, DuckDBStore)
    follower = Feed(index, DuckDBStore)
    follower.start()
    try:
        assert follower.catch_up(30)
        old, stop = index.store, Interruption()

        def progress(done: int, total: int) -> None:
            assert total == 1_000
            if done >= 300:
                stop.cancel()

        with pytest.raises(Unavailable, match="withdrawn"):
            follower.successor.build(progress, stop)
        assert index.store is old
        assert old.rows() == 1_000
        commit([event(1)])
        assert follower.catch_up(30)
        assert old.rows() == 1_001
    finally:
        follower.stop()
        index.close()
    assert sorted(path.name for path in config.data_dir.glob("search*")) == ["search.duckdb"]


def test_leftovers_of_a_crash_are_removed(config: Config, ledger: Callable[[], None]) -> None:
    """What a new index and its log and spilled rows were when the process was killed is not kept: it holds events."""
    commit(many(10))
    for name in ("reindex", "reindex.wal", "rewritten"):
        config.search_path.with_name(f"{config.search_path.name}.{name}").write_bytes(b"Zacharias")
    spilled = config.search_path.with_name(f"{config.search_path.name}.reindex.tmp")
    spilled.mkdir()
    (spilled / "duckdb_temp_storage-0.tmp").write_bytes(b"Zacharias")
    with running(config) as (_, client):
        equals_ledger(client)
    assert sorted(path.name for path in config.data_dir.glob("search*")) == ["search.duckdb"]
