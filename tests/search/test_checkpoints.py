"""The store writes the index's file now and then, beside questions that never end."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from opssentinal.query import parse
from opssentinal.search.duckdb import DuckDBStore
from opssentinal.search.duckdb import store as engine
from opssentinal.search.interruption import Interruption
from tests.search.events import bundle_of, many

_BATCH = 200


def test_questions_do_not_keep_events_out_or_off_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others ask all the time and keep rows of their own, every batch is taken in, and the file goes on too."""
    monkeypatch.setattr(engine, "_CHECKPOINT_ROWS", 2 * _BATCH)
    monkeypatch.setattr(engine, "_FORCED_CHECKPOINT_ROWS", 4 * _BATCH)
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
