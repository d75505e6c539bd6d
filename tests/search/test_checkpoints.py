"""The store writes the index's file now and then, beside questions that never end."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from opssentinal.config import Config
from opssentinal.errors import Unavailable
from opssentinal.query import Filter, parse
from opssentinal.search.duckdb import DuckDBStore
from opssentinal.search.duckdb import store as engine
from opssentinal.search.index import remove
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import Corrupt, GivenUp
from tests.crash import injection
from tests.ledger.conftest import commit
from tests.search.conftest import Meanwhile, running, until
from tests.search.events import bundle_of, many

_BATCH = 200


def test_questions_do_not_keep_events_out_or_off_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others ask all the time and keep rows of their own, every batch is taken in, and the file goes on too."""
    monkeypatch.setattr(engine, "_CHECKPOINT_ROWS", 2 * _BATCH)
    store, batch, ended = DuckDBStore(tmp_path / "index", threads=2), many(_BATCH), threading.Event()
    failures: list[Exception] = []

    def ask() -> None:
        while not ended.is_set():
            try:
                store.overview(parse("-nowhere"), ("action", "actor"), 10, 60, "UTC", None, Interruption())
            except Exception as error:  # noqa: BLE001  # the test fails with it
                failures.append(error)
                return

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        for number in range(20):
            store.ingest([bundle_of(batch, number * _BATCH)])
    finally:
        ended.set()
        for thread in asking:
            thread.join()
    assert failures == []
    assert store.rows() == 20 * _BATCH
    # As a crash would leave it, with a log that holds no more than what was not written yet.
    for name in ("index", "index.wal"):
        if (tmp_path / name).exists():
            shutil.copy(tmp_path / name, tmp_path / name.replace("index", "crashed"))
    store.close()
    for name in ("crashed", "index"):
        again = DuckDBStore(tmp_path / name)
        assert again.rows() == again.position == 20 * _BATCH
        again.close()


def test_the_file_is_written_beside_a_question_that_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as an export: the log grows no longer for it, and nobody else waits; it goes on with what it began with."""
    monkeypatch.setattr(engine, "_CHECKPOINT_ROWS", 2 * _BATCH)
    store, batch, left = DuckDBStore(tmp_path / "index", threads=2), many(_BATCH), []
    store.ingest([bundle_of(batch)])

    def meanwhile() -> None:
        for number in range(1, 21):
            store.ingest([bundle_of(batch, number * _BATCH)])
            left.append(store._unsaved_rows)
            assert store.page(Filter(), 10, None, "newest", None, Interruption()).head == (number + 1) * _BATCH
        assert store.forget(_BATCH // 2) == _BATCH // 2

    page = store.page(Filter(), 1_000, None, "newest", None, Meanwhile(meanwhile))
    assert (len(page.events), page.head) == (_BATCH, _BATCH)
    assert len(left) == 20
    assert max(left) <= 2 * _BATCH
    store.close()


def test_what_settles_is_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After settling, the file alone has everything; little is left where it is, since writing costs more than it saves."""
    monkeypatch.setattr(engine, "_SETTLED_ROWS", _BATCH)
    store = DuckDBStore(tmp_path / "index")
    log = tmp_path / "index.wal"
    store.ingest([bundle_of(many(_BATCH - 1))])
    store.settle()
    assert log.stat().st_size
    store.ingest([bundle_of(many(_BATCH - 1), _BATCH - 1)])
    store.settle()
    assert not log.exists() or not log.stat().st_size
    shutil.copy(tmp_path / "index", tmp_path / "crashed")
    store.close()
    again = DuckDBStore(tmp_path / "crashed")
    assert again.rows() == again.position == 2 * (_BATCH - 1)
    again.close()


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.usefixtures("ledger")
def test_a_file_that_cannot_be_written(config: Config, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """The engine gives up a file that it could not write its log into: it is opened again, not built again, as often as it takes."""
    injection.require()
    monkeypatch.setattr(engine, "_CHECKPOINT_ROWS", _BATCH)
    with running(config) as (back, client):
        commit(many(10))
        assert client.extent(Filter()).count == 10
        before, first = config.search_path.stat().st_ino, back.index.store
        with injection.failing(os.getpid(), "pwrite64", error, "1+", config.search_path, follow=True) as failed:
            for seed in (2, 3):
                commit(many(_BATCH, seed))
                back.feed.catch_up(10)
            assert failed()
        deadline = time.monotonic() + 30
        while back.feed.catch_up(10) is None:
            assert time.monotonic() < deadline
        assert client.extent(Filter()).count == 10 + 2 * _BATCH
        assert back.index.store is not first
        assert config.search_path.stat().st_ino == before
        commit(many(_BATCH, 4))
        assert client.extent(Filter()).count == 10 + 3 * _BATCH
    assert not config.search_path.with_name(config.search_path.name + ".wal").exists(), "it could be written"


@pytest.mark.usefixtures("ledger")
def test_a_file_of_which_nobody_knows_what_is_on_the_disk(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After an fsync that failed while the log was written into it, it is built again: opening it again would hide what is lost."""
    injection.require()
    monkeypatch.setattr(engine, "_CHECKPOINT_ROWS", _BATCH)
    with running(config) as (back, client):
        commit(many(10))
        assert client.extent(Filter()).count == 10
        with injection.failing(os.getpid(), "fsync,fdatasync", "EIO", "1+", config.search_path, follow=True) as failed:
            commit(many(_BATCH, 2))
            back.feed.catch_up(10)
            assert failed()
        until(lambda: back.feed.catch_up(10) is not None)
        assert client.extent(Filter()).count == 10 + _BATCH
        assert "The search index is thrown away and built again" in caplog.text


def test_a_file_that_cannot_be_written_beside_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads when the engine gives the file up hears so, and the process lives on."""
    injection.require()
    monkeypatch.setattr(engine, "_SETTLED_ROWS", _BATCH)
    store = DuckDBStore(tmp_path / "index")
    store.ingest([bundle_of(many(_BATCH))])
    failed: list[int] = []

    def fail() -> None:
        with injection.failing(os.getpid(), "pwrite64", "EIO", "1+", store.path, follow=True) as count:
            with pytest.raises(GivenUp):
                store.settle()
            failed.append(count())

    with pytest.raises(GivenUp):
        store.page(Filter(), 10, None, "newest", None, Meanwhile(fail))
    assert failed[0]
    with pytest.raises(GivenUp):
        store.rows()
    store.close()
    again = DuckDBStore(tmp_path / "index")
    assert again.rows() == again.position == _BATCH
    again.close()


@pytest.mark.parametrize(("calls", "nth"), [("write", 1), ("write", 9), ("pwrite64", 1), ("pwrite64", 5), ("fsync", 6)])
def test_a_rewrite_that_fails_can_be_made_again(tmp_path: Path, calls: str, nth: int) -> None:
    """Nothing of the new file stands in the way of the next, whether or not the one in use has to be opened again first."""
    injection.require()
    made = [tmp_path / "made", tmp_path / "made.wal"]
    store = DuckDBStore(tmp_path / "index", threads=1)  # each thread would count its own calls
    store.ingest([bundle_of(many(_BATCH))])
    store.forget(_BATCH // 2)
    with injection.failing(os.getpid(), calls, "EIO", str(nth), *made, follow=True) as failed:
        with pytest.raises((Unavailable, Corrupt)) as told:
            store.rewrite(made[0], Interruption())
        assert failed() == 1
    if not isinstance(told.value, Unavailable) or isinstance(told.value, GivenUp):
        store.close()
        store = DuckDBStore(tmp_path / "index")
    remove(made[0])
    store.rewrite(made[0], Interruption())
    store.close()
    again = DuckDBStore(made[0])
    assert (again.rows(), again.position, again.is_clean) == (_BATCH // 2, _BATCH, True)
    again.close()
