"""How an exported file comes about: through a pipe, whatever its size, and with the reason where it does not."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from opssentinal.errors import Unavailable
from opssentinal.events.model import Change, Event, Target
from opssentinal.query import Filter
from opssentinal.search.answers import Format
from opssentinal.search.duckdb import DuckDBStore, exporting
from opssentinal.search.interruption import Interruption
from tests.search.events import BEGIN, bundle_of, event, newest_first

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


_PORTION = 50


def _at(*microseconds: int) -> list[Event]:
    return [event(occurred_at=BEGIN + timedelta(microseconds=each)) for each in microseconds]


def _years_apart(*years: int) -> list[Event]:
    return [event(occurred_at=datetime(year, 1, 1, tzinfo=UTC)) for year in years]


_CHANCE = random.Random(7)
_SECOND = _at(*(_CHANCE.randrange(1_000_000) for _ in range(3_000)))


@pytest.mark.parametrize(
    ("log", "largest"),
    [
        (_years_apart(1970) + _SECOND, 2 * _PORTION),
        (_SECOND + _years_apart(2090), 2 * _PORTION),
        (_years_apart(1970, 2090) + _SECOND + _years_apart(1971, 2089), 2 * _PORTION),
        (_years_apart(1970) + _at(*range(1_000), *range(10**10, 10**10 + 1_000)), 2 * _PORTION),
        (_at(*[0] * 400), 400),
        (_years_apart(1970) + _SECOND + _at(*[500_000] * 400), 420),
        (_at(*[0] * 300, *[1] * 200, 2, *[3] * 10), 300),
    ],
    ids=["before", "after", "both", "two bursts", "one microsecond", "a crowded microsecond", "next to each other"],
)
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_a_portion_is_bounded_wherever_the_times_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Sequence[Event], largest: int, format: Format
) -> None:
    """Few events far from all others make no portion of everything; only those of one microsecond stay together.

    The file has every event once, newest first, and is the same as one in a single portion.
    """
    bundle = bundle_of(log)
    with closing(DuckDBStore(tmp_path / "index", threads=2)) as store:
        store.ingest([bundle])
        store.export(Filter(), None, format, tmp_path / "wanted", False, lambda _: None, GO)
        monkeypatch.setattr(exporting, "_PORTION_ROWS", _PORTION)
        steps = [0]
        made = store.export(Filter(), None, format, tmp_path / "found", False, steps.append, GO)
    assert made.rows == steps[-1] == len(log)
    assert all(0 < after - before <= largest for before, after in pairwise(steps))
    content = (tmp_path / "found").read_bytes()
    assert content == (tmp_path / "wanted").read_bytes()
    if format == "jsonl":
        found = [msgspec.json.decode(line)["seq"] for line in content.splitlines()]
        assert found == [each.seq for each in newest_first(list(bundle.events()))]
