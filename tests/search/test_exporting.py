"""How an exported file comes about: through a pipe, whatever its size, and with the reason where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opssentinal.errors import Unavailable
from opssentinal.events.model import Change, Target
from opssentinal.query import Filter
from opssentinal.search.answers import Format
from opssentinal.search.duckdb import DuckDBStore, exporting
from opssentinal.search.interruption import Interruption
from tests.search.events import bundle_of, event

GO = Interruption()
_FORMATS: tuple[Format, ...] = ("csv", "jsonl", "parquet")
_EVENTS = 3_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDBStore]:
    """Events of half a kilobyte and more, with quotes in every place that can have them."""
    made = DuckDBStore(tmp_path / "index", threads=2)
    made.ingest([
        bundle_of([
            event(
                number % 997,
                targets=[Target("key", f'"k{number}"'), Target("door", '""', 'front "door"')][: number % 3],
                changes=[Change('the "field"', '"', number)] * (number % 2),
                metadata={'"said"': '"' * (number % 7), "number": number, "long": "x" * 500} if number % 5 else {},
                message='a "message"' if number % 4 else None,
            )
            for number in range(_EVENTS)
        ])
    ])  # fmt: skip
    yield made
    made.close()


def exported(store: DuckDBStore, path: Path, format: Format) -> bytes:
    """The bytes of a whole export, which are as many as it says."""
    made = store.export(Filter(), None, format, path, False, lambda _: None, GO)
    content = path.read_bytes()
    assert (made.rows, made.bytes) == (_EVENTS, len(content))
    return content


@pytest.mark.parametrize("size", [1, 7, 4_099])
def test_a_pipe_may_hold_little(store: DuckDBStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The file is the same, byte by byte, wherever the pieces end that come out of the pipe, and in portions too."""
    wanted = exported(store, tmp_path / "wanted", "csv")
    assert b"\0" not in wanted
    monkeypatch.setattr(exporting, "_PIPE_BYTES", size)
    monkeypatch.setattr(exporting, "_PORTION_ROWS", 250)
    monkeypatch.setattr(exporting, "_SYNC_BYTES", 100_000)
    assert exported(store, tmp_path / "found", "csv") == wanted


@pytest.mark.parametrize("format", _FORMATS)
def test_a_full_disk_is_the_reason(store: DuckDBStore, tmp_path: Path, format: Format) -> None:
    """Not the pipe that the engine can no longer write to. No file is left, and the store goes on."""
    path = tmp_path / "full"
    path.symlink_to("/dev/full")  # every write: no space left on device
    with pytest.raises(Unavailable) as caught:
        store.export(Filter(), None, format, path, False, lambda _: None, GO)
    assert caught.value.detail == "The file cannot be written: No space left on device."
    assert not path.is_symlink()
    assert exported(store, tmp_path / "again", format)
