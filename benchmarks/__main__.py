"""Measure the running product beside PostgreSQL, load generator included, and write benchmarks/RESULTS.md.

Everything goes through the real server over HTTP on the loopback address, into a data directory that is thrown away.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from tests.server import REPOSITORY, ServerProcess

from benchmarks import postgres, product
from benchmarks.events import Corpus, cloudtrail, synthetic
from benchmarks.results import Measured, Row, write_results

PARTS = ("single", "batch", "pages", "export", "disk", "start", "reindex", "postgres")
CLOUDTRAIL = REPOSITORY.parent / "shared/data/cloudtrail/events.ndjson"
CLOUDTRAIL_EVENTS_MAX = 300_000
_BATCH = 1_000
_SMALL_EVENTS = 1_000_000  # in batches of 100


def main() -> None:
    """Run the parts that are asked for with each corpus, PostgreSQL first, at each size."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--events",
        type=_number,
        action="append",
        help="events to load (default: 1_000_000); repeated: the sizes of a growth",
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this, repeatable")
    parser.add_argument(
        "--corpus",
        choices=("synthetic", "cloudtrail"),
        action="append",
        help=f"events of 450 bytes, or real records of 1,300 (of these {CLOUDTRAIL_EVENTS_MAX:,} at most); default: both, where "
        f"{CLOUDTRAIL} is there",
    )
    parser.add_argument("--postgres-events", type=_number, default=1_000_000, help="events for PostgreSQL, at most")
    parser.add_argument("--keep", type=Path, help="use this data directory and keep it")
    options = parser.parse_args()
    sizes = sorted(options.events or [1_000_000])
    names = options.corpus or (["synthetic", "cloudtrail"] if CLOUDTRAIL.exists() else ["synthetic"])
    parts = options.only or PARTS
    measured = []
    for name in names:
        corpus = synthetic() if name == "synthetic" else cloudtrail(CLOUDTRAIL)
        steps = sizes if name == "synthetic" else [min(sizes[-1], CLOUDTRAIL_EVENTS_MAX)]
        theirs = postgres.measure(corpus, min(steps[-1], options.postgres_events)) if "postgres" in parts else {}
        folder = (options.keep or Path(tempfile.mkdtemp(prefix="opssentinal-bench-"))) / name
        try:
            measured.append(Measured(corpus, _stages(folder, corpus, steps, parts), theirs))
        finally:
            if options.keep is None:
                shutil.rmtree(folder.parent, ignore_errors=True)
    write_results(measured, " ".join(sys.argv[1:]))


def _stages(folder: Path, corpus: Corpus, sizes: list[int], parts: Sequence[str]) -> list[tuple[int, list[Row]]]:
    """Load up to each size and measure there."""
    stages: list[tuple[int, list[Row]]] = []
    bodies = corpus.bodies(sizes[-1], _BATCH)
    with _server(folder / "data") as server:
        write = server.api_key("events:write", source="bench")
        read = server.api_key("events:read", "exports:write", "exports:read", source="bench-reader")
        server.wait_for_search()
        loaded = 0
        for size in sizes:
            rows: list[Row] = []
            made = product.batches(server, write, islice(bodies, (size - loaded) // _BATCH), size - loaded, _BATCH)
            loaded = size
            rows += made if "batch" in parts else []
            rows += product.pages(server, read, corpus) if "pages" in parts else []
            rows += product.export(server, read) if "export" in parts else []
            rows += product.memory(server)
            rows += product.disk(server.data_dir, server.api_size()) if "disk" in parts else []
            rows += product.restart(server) if "start" in parts else []
            rows += product.reindex(server, server.api_size()) if "reindex" in parts else []
            rows[:0] = _rows_of_a_copy(server, write, read, corpus, parts)
            stages.append((size, rows))
            print(f"{size:,}:", *(f"{row.what}: {row.ours:,.1f} {row.unit}" for row in rows), sep="\n  ", flush=True)
    return stages


def _rows_of_a_copy(server: ServerProcess, write: str, read: str, corpus: Corpus, parts: Sequence[str]) -> list[Row]:
    """Measure what adds events that are all of one moment: on a copy, so that the log is the same for what comes after."""
    if not {"single", "batch"}.intersection(parts):
        return []
    rows: list[Row] = []
    server.stop()
    with tempfile.TemporaryDirectory(prefix="copy-", dir=server.data_dir.parent) as beside:
        folder = Path(beside) / "data"
        shutil.copytree(server.data_dir, folder, ignore=shutil.ignore_patterns("exports", "*.sock"))
        os.sync()  # or every fsync that is measured waits for the copy
        with _server(folder) as copy:
            copy.wait_for_search()
            if "single" in parts:
                rows += product.found_at_once(copy, write, read)
                rows += product.single_events(copy, write, corpus)
            if "batch" in parts:
                small = corpus.bodies(_SMALL_EVENTS, 100, days=1, seed=2)
                rows += product.batches(copy, write, small, _SMALL_EVENTS, 100)
    server.start()
    server.wait_for_search()
    return rows


def _server(data_dir: Path) -> ServerProcess:
    return ServerProcess(
        data_dir,
        OPSSENTINAL_INGEST_EVENTS_PER_MINUTE="1000000000",
        OPSSENTINAL_API_REQUESTS_PER_MINUTE="1000000",
    )


def _number(text: str) -> int:
    return int(text.replace(",", "").replace("_", ""))


if __name__ == "__main__":
    main()
