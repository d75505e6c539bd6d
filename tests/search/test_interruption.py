"""Questions nobody waits for are stopped, and so are those that take too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opssentinal.back import Back
from opssentinal.config import Config, load
from opssentinal.errors import OpsSentinalError, Unavailable
from opssentinal.query import Filter, parse
from opssentinal.search.client import CancelScope, SearchClient, cancel_scope
from opssentinal.search.duckdb import DuckDBStore
from opssentinal.search.feed import Feed
from opssentinal.search.interruption import Interruption
from opssentinal.search.service import SearchService
from tests.search.conftest import running, until
from tests.search.events import bundle_of, many

# Every text of every event is looked at, with a pattern that cannot be found by its pieces: seconds of work.
HEAVY = parse(" ".join(f'-"*{a}*q*{b}*"' for a in "abcdefghi" for b in "klmnopr"))

# Well below what the question would take, and well above what a busy machine makes of half a second.
_LONG_S = 5


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with enough in it to keep the engine busy for long."""
    path = tmp_path_factory.mktemp("large") / "search.duckdb"
    store = DuckDBStore(path, threads=1)
    events = many(5_000)
    for batch in range(40):
        store.ingest([bundle_of(events, batch * 5_000)])
    store.close()
    return path


@pytest.fixture
def store(large: Path) -> Iterator[DuckDBStore]:
    """The large index, opened."""
    opened = DuckDBStore(large, threads=1)
    yield opened
    opened.close()


def test_cancelling_stops_the_engine(store: DuckDBStore) -> None:
    """A cancelled question ends within a fraction of what it would take, and the store answers on."""
    started = time.monotonic()
    store.extent(HEAVY, None, Interruption())
    whole_s = time.monotonic() - started
    stop, ended = Interruption(), threading.Event()

    def cancel() -> None:
        while not ended.wait(0.02):
            stop.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        store.extent(HEAVY, None, stop)
    ended.set()
    canceller.join()
    assert caught.value.code == "cancelled"
    assert time.monotonic() - started < whole_s / 2
    assert store.extent(Filter(), None, Interruption()).count == 200_000


def test_closing_waits_for_no_question(large: Path, tmp_path: Path) -> None:
    """Whoever closes the index ends what is under way, however long that would take, with an error that says to ask again."""
    store = DuckDBStore(large, threads=1)
    started = time.monotonic()
    store.extent(HEAVY, None, Interruption())
    whole_s = time.monotonic() - started
    told: list[Unavailable] = []

    def ask(answer: Callable[[Interruption], object]) -> None:
        with pytest.raises(Unavailable) as caught:
            answer(Interruption())
        told.append(caught.value)

    asked: list[Callable[[Interruption], object]] = [
        lambda stop: store.extent(HEAVY, None, stop),
        lambda stop: store.export(HEAVY, None, "parquet", tmp_path / "out", False, lambda _: None, stop),
        lambda stop: store.rewrite(tmp_path / "copy", stop),
    ]
    askers = [threading.Thread(target=ask, args=[each]) for each in asked]
    for asker in askers:
        asker.start()
    until(lambda: len(store._readers._under_way) == len(asked))
    time.sleep(min(whole_s / 10, 0.1))
    started = time.monotonic()
    store.close()
    assert time.monotonic() - started < whole_s
    for asker in askers:
        asker.join()
    assert [error.code for error in told] == ["rebuilding"] * len(asked)
    assert not (tmp_path / "out").exists()


def test_cancelled_export_leaves_no_file(store: DuckDBStore, tmp_path: Path) -> None:
    """An export that is stopped removes what it has written."""
    stop = Interruption()
    with pytest.raises(Unavailable):
        store.export(Filter(), None, "csv", tmp_path / "out.csv", False, lambda _: stop.cancel() or stop.check(), stop)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def back(large: Path, config: Config, ledger: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Back]:
    """A back with the large index, whose feed stands still (its ledger is another one)."""
    monkeypatch.setattr(Feed, "_follow", lambda self: None)
    settings = {"OPSSENTINAL_DATA_DIR": str(config.data_dir), "OPSSENTINAL_SEARCH_URL": f"duckdb://{large}"}
    with running(load(settings | {"OPSSENTINAL_SEARCH_THREADS": "1"})) as (back, client):
        client.status()
        yield back


@pytest.fixture
def slow(back: Back, config: Config) -> SearchClient:
    """A client of that back."""
    return SearchClient(config.search_socket)


def test_slow_question_times_out(back: Back, tmp_path: Path) -> None:
    """A question over its time is stopped with an error of its own, soon after its time; the next is answered."""
    hurried = SearchService(tmp_path / "hurried.sock", back.index, back.feed, back.runner, timeout_s=0.05)
    hurried.start()
    try:
        client = SearchClient(tmp_path / "hurried.sock")
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            client.extent(HEAVY)
        assert caught.value.code == "query_timeout"
        assert time.monotonic() - started < _LONG_S
    finally:
        hurried.stop()
    patient = SearchService(tmp_path / "patient.sock", back.index, back.feed, back.runner, timeout_s=30)
    patient.start()
    try:
        assert SearchClient(tmp_path / "patient.sock").extent(Filter()).count == 200_000
    finally:
        patient.stop()


def test_gone_client_stops_the_work(slow: SearchClient) -> None:
    """A request whose reader has gone gives the engine back: all places are free again at once."""
    scopes = [CancelScope() for _ in range(4)]
    errors: list[str] = []

    def ask(scope: CancelScope) -> None:
        cancel_scope.set(scope)
        try:
            while True:
                slow.extent(HEAVY)
        except Unavailable as error:
            errors.append(error.code)

    threads = [threading.Thread(target=ask, args=[scope]) for scope in scopes]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    for scope in scopes:
        scope.cancel()
    for thread in threads:
        thread.join()
    assert set(errors) <= {"cancelled", "query_timeout"}
    started = time.monotonic()
    assert slow.extent(Filter()).count == 200_000
    assert time.monotonic() - started < _LONG_S


def test_status_is_told_while_questions_take_long(slow: SearchClient) -> None:
    """Where search stands is told at once while every place is taken and others wait."""
    scope = CancelScope()
    codes: list[str] = []

    def ask() -> None:
        cancel_scope.set(scope)
        try:
            while True:
                slow.extent(HEAVY)
        except OpsSentinalError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            started = time.monotonic()
            assert slow.status().rows == 200_000
            assert time.monotonic() - started < 3
    finally:
        scope.cancel()
        for thread in threads:
            thread.join()
    assert len(codes) == 12
