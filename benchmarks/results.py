"""What was measured, as a table with ratios, and as growth over sizes: printed, and written to RESULTS.md."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.server import REPOSITORY

from benchmarks.events import Corpus
from benchmarks.plot import small_multiples

RESULTS = Path(__file__).with_name("RESULTS.md")
PLOT = Path(__file__).with_name("growth.svg")


class Row(NamedTuple):
    """One line: the product's figure, PostgreSQL's of the same run if there is one, both in `unit`, and the goal in words.

    `note` is shown beside the product's figure.
    """

    what: str
    ours: float
    unit: str
    goal: str = ""
    note: str = ""


class Measured(NamedTuple):
    """What was measured with one corpus: at each size of the log, smallest first, and of PostgreSQL."""

    corpus: Corpus
    stages: list[tuple[int, list[Row]]]
    theirs: dict[str, Row]


class Timing(NamedTuple):
    """Median and 99th percentile (of few calls: the worst), in milliseconds."""

    p50: float
    p99: float


def timed(call: Callable[[], object], times: int = 15) -> Timing:
    """Time some calls, after one to warm up."""
    call()
    took_ms = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        took_ms.append((time.perf_counter() - started) * 1000)
    took_ms.sort()
    return Timing(statistics.median(took_ms), took_ms[min(len(took_ms) - 1, int(len(took_ms) * 0.99))])


def revision() -> str:
    """The commit that is checked out, with "-dirty" where files differ from it."""
    described = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(described, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()


def fsync_ms(folder: Path) -> float:
    """The median time of writing 4 KiB and fsync, in milliseconds."""
    path = folder / "fsync-probe"
    try:
        with path.open("wb") as file:

            def write() -> None:
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())

            return timed(write, 200).p50
    finally:
        path.unlink(missing_ok=True)


def write_results(measured: Sequence[Measured], argv: str) -> None:
    """Print everything and write RESULTS.md, with a plot of the growth where there are several sizes."""
    lines = [
        "# Benchmark results",
        "",
        (
            f"Written by `./scripts/bench {argv}` on {time.strftime('%Y-%m-%d')} at {revision()}: {platform.machine()}, {os.cpu_count()} cores, "
            f"Python {platform.python_version()}, {_memory_gb():.0f} GB, fsync {fsync_ms(Path(tempfile.gettempdir())):.2f} ms. "
            "Load generator, server and search share the machine"
            + (
                "; PostgreSQL was measured in the same run, before, with as many events as stand beside its disk."
                if any(theirs for *_, theirs in measured)
                else "."
            )
            + ' What is "worst" or p99 of a page is the slowest of 15 calls.'
        ),
    ]
    for corpus, stages, theirs in measured:
        size, rows = stages[-1]
        lines += _table(f"{size:,} events, {corpus.name}, {corpus.mean_bytes():.0f} bytes each", rows, theirs)
        if len(stages) > 1:
            lines += _growth(stages)
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text)
    print(text)


def _table(title: str, rows: Sequence[Row], theirs: dict[str, Row]) -> list[str]:
    lines = [
        "",
        f"## {title}",
        "",
        "| measured | OpsSentinal | PostgreSQL | ratio | goal |",
        "|---|--:|--:|--:|---|",
    ]
    for row in rows:
        other = theirs.get(row.what)
        ratio = ""
        if other is not None and row.ours and other.ours:
            better = other.ours / row.ours if row.unit in ("ms", "s", "B/event", "MB") else row.ours / other.ours
            ratio = f"{better:.1f} ×" if better >= 0.1 else f"{better:.2g} ×"
        note = f" ({row.note})" if row.note else ""
        shown = _shown(other) + (f" ({other.note})" if other and other.note else "")
        lines.append(f"| {row.what} | {_shown(row)}{note} | {shown} | {ratio} | {row.goal} |")
    return lines


def _growth(stages: Sequence[tuple[int, Sequence[Row]]]) -> list[str]:
    by_name: dict[str, dict[int, Row]] = {}
    for size, rows in stages:
        for row in rows:
            by_name.setdefault(row.what, {})[size] = row
    sizes = [size for size, _ in stages]
    lines = ["", "## Growth", "", f"![Growth]({PLOT.name})", ""]
    lines += ["| measured | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---|" + "--:|" * len(sizes)]
    grown = {name: rows for name, rows in by_name.items() if len(rows) > 1}
    for name, rows_by_size in grown.items():
        lines.append(f"| {name} | " + " | ".join(_shown(rows_by_size.get(size)) for size in sizes) + " |")
    PLOT.write_text(
        small_multiples(
            {
                f"{name}, {next(iter(rows.values())).unit}": [(size, row.ours) for size, row in rows.items()]
                for name, rows in grown.items()
            }
        )
    )
    return lines


def _shown(row: Row | None) -> str:
    if row is None:
        return ""
    number = f"{row.ours:,.0f}" if row.ours >= 10 else f"{row.ours:.1f}"
    return f"{number} {row.unit}"


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
