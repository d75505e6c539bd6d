"""Events that come fast wait in the store until they are a portion, as long as nobody asks: then all of them are found."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from opssentinal.config import Config
from opssentinal.query import Filter
from opssentinal.search import feed
from opssentinal.search.duckdb import DuckDBStore, loading
from opssentinal.search.store import Corrupt
from tests.ledger.conftest import NOW_US, commit
from tests.search.conftest import running
from tests.search.events import bundle_of, event, many
from tests.search.test_feed import equals_ledger
from tests.search.test_loading import Log, holds

_PORTION = 100


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions of a hundred events."""
    monkeypatch.setattr(loading, "PORTION_EVENTS", _PORTION)


def _give(store: DuckDBStore, log: Log, first: int, end: int) -> int:
    """Give events that may wait, with the one before them."""
    return store.ingest([*log.read(first, end)], may_wait=True)


@pytest.mark.parametrize("step", [7, 30, 99, 100, 101, 350])
def test_portions_are_taken_in_when_they_are_whole(tmp_path: Path, step: int) -> None:
    """However events are handed over: what is seen ends with a portion, and with the last event once nothing may wait."""
    log, store = Log(), DuckDBStore(tmp_path / "index", threads=2)
    for first in range(0, 1_030, step):
        end = min(first + step, 1_030)
        assert _give(store, log, first, end) == store.taken == end
        assert store.position == end // _PORTION * _PORTION
        assert store.rows() == store.position
    holds(store, log.events(1_000))
    assert store.ingest([]) == store.position == 1_030
    holds(store, log.events(1_030))
    store.close()
    again = DuckDBStore(tmp_path / "index")
    assert again.taken == again.position == 1_030
    holds(again, log.events(1_030))
    again.close()


def test_what_may_not_wait_takes_along_what_did(tmp_path: Path) -> None:
    """Whatever writes finds everything that was given before it."""
    log, store = Log(), DuckDBStore(tmp_path / "index", threads=2)
    _give(store, log, 0, 50)
    store.ingest([*log.read(50, 230)])
    assert store.position == 230
    _give(store, log, 230, 250)
    store.settle()
    assert store.position == 250
    _give(store, log, 250, 270)
    assert list(store.load(470, log.read)) == [370, 470]
    _give(store, log, 470, 490)
    store.ingest([])
    assert store.position == 490
    holds(store, log.events(490))
    _give(store, log, 490, 530)
    assert store.forget(500) == 500
    assert (store.position, store.minimum_index, store.rows()) == (530, 500, 30)
    store.close()


def test_what_waits_is_lost_with_the_process_and_brought_again(tmp_path: Path) -> None:
    """The position never names events that are not there."""
    log, store = Log(), DuckDBStore(tmp_path / "index", threads=2)
    assert _give(store, log, 0, 150) == 150
    store.close()
    store = DuckDBStore(tmp_path / "index", threads=2)
    assert store.taken == store.position == 100
    _give(store, log, 100, 1_030)
    store.ingest([])
    holds(store, log.events(1_030))
    store.close()


def test_an_error_drops_what_waits(tmp_path: Path) -> None:
    """Where the ledger does not go on as it began, nothing of the unfinished portion is left; it can come again."""
    log, store = Log(), DuckDBStore(tmp_path / "index", threads=2)
    for wrong in (Log(seed=2).read(150, 160), Log().read(160, 170)):
        _give(store, log, store.position, 150)
        with pytest.raises(Corrupt):
            store.ingest([*wrong], may_wait=True)
        assert store.taken == store.position == 100
        holds(store, log.events(100))
    _give(store, log, 100, 190)
    store.ingest([])
    holds(store, log.events(190))
    store.close()


def test_large_events_do_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded by its text too."""
    monkeypatch.setattr(loading, "PORTION_TEXT_BYTES", 20_000)
    store = DuckDBStore(tmp_path / "index")
    store.ingest([bundle_of([event(message="x" * 9_000)])], may_wait=True)
    assert store.position == 0
    store.ingest([bundle_of([event(message="x" * 9_000) for _ in range(2)], 1)], may_wait=True)
    assert store.position == 3
    store.close()


def test_a_question_finds_what_waits(
    config: Config, ledger: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of gathering, with no turn of the follower to come: everything in the ledger is found, at once."""
    monkeypatch.setattr(feed, "FAST_EVENTS", 20)
    monkeypatch.setattr(feed, "GATHER_FAST_S", 60.0)
    commit(many(130))
    with running(config) as (back, client):
        _until(lambda: back.feed.ledger_size == 130 and back.index.store.taken == 130)
        assert back.index.store.position == _PORTION
        assert not back.feed.is_rebuilding
        commit(many(50, seed=2), NOW_US + 10_000_000)
        assert client.extent(Filter()).count == 180
        equals_ledger(client)


def test_the_rest_comes_when_the_stream_ends(
    config: Config, ledger: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any question, and without a change of what is called rebuilding."""
    monkeypatch.setattr(feed, "FAST_EVENTS", 20)
    with running(config) as (back, client):
        for part in range(7):
            commit(many(50, seed=part), NOW_US + part)
            _until(lambda part=part: back.index.store.taken == (part + 1) * 50)  # type: ignore[misc]
            assert not back.feed.is_rebuilding
        _until(lambda: back.index.store.position == 350)
        equals_ledger(client)


def test_nothing_waits_soon_after_a_question(
    config: Config, ledger: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks now will look again: events are taken in as they come."""
    monkeypatch.setattr(feed, "FAST_EVENTS", 20)
    monkeypatch.setattr(feed, "GATHER_FAST_S", 60.0)
    monkeypatch.setattr(feed, "ASKED_LATELY_S", 60.0)
    with running(config) as (back, client):
        client.status()
        for part in range(3):
            commit(many(50, seed=part), NOW_US + part)
            _until(lambda part=part: back.index.store.position == (part + 1) * 50)  # type: ignore[misc]


def test_stopping_takes_in_what_waits(
    config: Config, ledger: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start goes on after it."""
    monkeypatch.setattr(feed, "FAST_EVENTS", 20)
    monkeypatch.setattr(feed, "GATHER_FAST_S", 60.0)
    commit(many(130))
    with running(config) as (back, _):
        _until(lambda: back.feed.ledger_size == 130 and back.index.store.taken == 130)
    store = DuckDBStore(config.search_path)
    assert store.position == 130
    store.close()


def _until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not _is(reached):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is(reached: Callable[[], bool]) -> bool:
    try:
        return reached()
    except Exception:  # noqa: BLE001  # the index is not open yet
        return False
