"""The index is written from checkpoint to checkpoint, beside questions that never end."""

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
    # As a crash would leave it: what was not written yet is lost, rows and position together.
    shutil.copy(tmp_path / "index", tmp_path / "crashed")
    store.close()
    crashed = DuckDBStore(tmp_path / "crashed")
    assert crashed.rows() == crashed.position >= 16 * _BATCH
    crashed.close()
    again = DuckDBStore(tmp_path / "index")
    assert again.rows() == again.position == 20 * _BATCH
    again.close()
