"""Measure the search store alone: fill it with N events as the feed does, then time each kind of question.

    python -m benchmarks.search --events 1000000 [--keep FOLDER]

No server, no ledger: lines are made with `draft` and handed to the store in the batches of the feed. A folder that
is kept is filled once and asked again at the next run. Times are medians of five: by the clock, and of all cores' work, which
other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.events import synthetic_events
from opssentinal.events.encoding import draft
from opssentinal.events.model import Event, from_us, to_us
from opssentinal.ledger.bundle import Bundle
from opssentinal.query import Filter, parse
from opssentinal.search.bringing import BATCH_EVENTS
from opssentinal.search.duckdb import DuckDBStore
from opssentinal.search.interruption import Interruption

FACETS: Final = ("action", "actor", "target_type", "outcome", "ip", "source")
# What is repeated under new ids and times: making ten million different events would take longer than indexing them.
_DIFFERENT: Final = 200_000


def main() -> None:
    """Fill, ask, export, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="use this folder and keep it")
    parser.add_argument("--memory-mb", type=int, default=640)
    options = parser.parse_args()
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]  # as the back does
    folder = options.keep or Path(tempfile.mkdtemp(prefix="opssentinal-search-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        store = DuckDBStore(folder / f"search-{options.events}.duckdb", memory_mb=options.memory_mb)
        try:
            if store.position < options.events:
                fill(store, options.events)
            print(f"{store.rows():,} events, {store.file_bytes() / store.rows():.1f} bytes each")
            ask(store)
            export(store, folder)
        finally:
            store.close()
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def fill(store: DuckDBStore, count: int) -> None:
    """Ingest and print how fast; the clock does not count the making of events."""
    working_s = cpu_s = 0.0
    for bundle in _bundles(store.position, count):
        started, cpu = time.monotonic(), time.process_time()
        store.ingest([bundle])
        working_s += time.monotonic() - started
        cpu_s += time.process_time() - cpu
        print(f"\r{bundle.end_seq:,}", end="", flush=True)
    print(f"\rindexing: {count / working_s:,.0f} events/s, {cpu_s / count * 1e6:.1f} µs of processor each")


def _bundles(first: int, count: int) -> Iterator[Bundle]:
    """Batches of the feed's size, spread over 90 days, with the times of arrival a little behind."""
    kinds = [msgspec.convert(event, Event, strict=False) for event in synthetic_events(min(count, _DIFFERENT))]
    end_us = time.time_ns() // 1000
    spacing_us = 90 * 86_400 * 1_000_000 // count
    while first < count:
        size = min(BATCH_EVENTS, count - first)
        events: list[Event] = []
        for seq in range(first, first + size):
            event = kinds[seq * 7919 % len(kinds)]
            at = from_us(end_us - (count - seq) * spacing_us)
            events.append(
                msgspec.structs.replace(
                    event, id=None, occurred_at=at - timedelta(milliseconds=seq % 900), source=event.source or "bench"
                )
            )
        recorded_us = to_us(events[-1].occurred_at) if events[-1].occurred_at else end_us
        drafts = draft(events)
        whos, whats = drafts.whos.split(b"\n"), drafts.whats.split(b"\n")
        yield Bundle(first, size, recorded_us, recorded_us, drafts.complete(recorded_us).heads, whos, whats)
        first += size


def _questions(store: DuckDBStore) -> dict[str, Filter]:
    """One of each kind, with values that are there."""
    go = Interruption()
    newest = store.page(Filter(), 1, None, "newest", None, go).events[0]
    values = store.facets(Filter(), ("actor", "ip", "target", "action"), 1000, None, go)
    frequent, seldom = values["actor"][0].value, values["actor"][-1].value
    week = Filter(after=newest.occurred_at - timedelta(days=7))
    found = {
        "everything": "",
        "frequent action": f"action:{values['action'][0].value}",
        "rare action": f"action:{values['action'][-1].value}",
        "absent action": "action:nothing.like.it",
        "frequent actor": f'actor:"{frequent}"',
        "rare actor": f'actor:"{seldom}"',
        "absent actor": "actor:nobody",
        "actor by pattern": "actor:*a*7*",
        "one target": f'target:"{values["target"][-1].value}"' if values["target"] else "target:nothing",
        "absent target": "target:nothing",
        "absent address": "ip:198.51.100.7",
        "absent session": "session:nothing",
        "address": f"ip:{values['ip'][-1].value}",
        "network": "ip:10.0.0.0/8",
        "not success": "-outcome:success",
        "sensitive": "is:sensitive",
        "request": f'request:"{newest.context.request_id or "none"}"',
        "id": f"id:{newest.id}",
        "three filters": f'actor:"{frequent}" action:{values["action"][1].value} -outcome:success',
        "text, found soon": "user",
        "text, nowhere": "qqqqzzzz",
    }
    return {name: parse(text) for name, text in found.items()} | {"last 7 days": week}


def ask(store: DuckDBStore) -> None:
    """Time a first page and an overview of each kind of filter."""
    print(f"{'':24}{'page':>22}{'overview':>22}{'events':>12}")
    for name, filter in _questions(store).items():
        page = _timed(partial(store.page, filter, 50, None, "newest", None, Interruption()))
        overview = _timed(partial(store.overview, filter, FACETS, 10, 60, "Europe/Berlin", None, Interruption()))
        count = store.extent(filter, None, Interruption()).count
        print(f"{name:24}{page:>22}{overview:>22}{count:>12,}")
    week = _questions(store)["last 7 days"]
    filters: Sequence[Filter] = [week & filter for name, filter in _questions(store).items() if "text" not in name]
    times = [_times(partial(store.overview, f, FACETS, 10, 60, "UTC", None, Interruption()))[0] for f in filters]
    print(f"overview within 7 days, median over filters: {statistics.median(times):.0f} ms")


def export(store: DuckDBStore, folder: Path) -> None:
    """Time a whole export in each format."""
    for format in ("csv", "jsonl", "parquet"):
        path = folder / f"out.{format}"
        started, cpu = time.monotonic(), time.process_time()
        made = store.export(Filter(), None, format, path, False, lambda _: None, Interruption())
        rate, cpu_us = made.rows / (time.monotonic() - started), (time.process_time() - cpu) / made.rows * 1e6
        print(f"{format}: {rate:,.0f} rows/s, {cpu_us:.1f} µs of processor and {made.bytes / made.rows:.0f} bytes each")
        path.unlink()


def _times(work: Callable[[], Any]) -> tuple[float, float]:
    """Medians in ms: by the clock, and of the processor."""
    clock, processor = [], []
    for _ in range(5):
        started, cpu = time.monotonic(), time.process_time()
        work()
        clock.append((time.monotonic() - started) * 1000)
        processor.append((time.process_time() - cpu) * 1000)
    return statistics.median(clock), statistics.median(processor)


def _timed(work: Callable[[], Any]) -> str:
    clock, processor = _times(work)
    return f"{clock:.0f} ms (cpu {processor:.0f})"


if __name__ == "__main__":
    main()
