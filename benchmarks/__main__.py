"""Measure the running product, load generator included, and write benchmarks/RESULTS.md.

Everything goes through the real server over HTTP on the loopback address, into a data directory that is thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.server import ServerProcess

from benchmarks.events import mean_bytes, synthetic_events
from benchmarks.load import send_batches

RESULTS = Path(__file__).with_name("RESULTS.md")
PARTS = ("single", "batch", "pages", "export", "disk")
_WRK_S = 10


class Row(NamedTuple):
    """One line of the results: `floor` is what the product promises, in words."""

    what: str
    measured: str
    floor: str


def main() -> None:
    """Run the parts that are asked for, in order, on one server."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="events to load (default: 1,000,000)")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this, repeatable")
    parser.add_argument("--keep", type=Path, help="use this data directory and keep it")
    options = parser.parse_args()
    parts = options.only or PARTS
    folder = options.keep or Path(tempfile.mkdtemp(prefix="opssentinal-bench-"))
    rows: list[Row] = []
    try:
        with ServerProcess(
            folder / "data",
            OPSSENTINAL_INGEST_EVENTS_PER_MINUTE="1000000000",
            OPSSENTINAL_API_REQUESTS_PER_MINUTE="1000000",
        ) as server:
            write = server.api_key("events:write", source="bench")
            read = server.api_key("events:read", "exports:write", "exports:read", source="bench-reader")
            server.wait_for_search()
            if "single" in parts:
                rows += single_events(server, write)
            if "batch" in parts:
                rows += batches(server, write, options.events)
            server.wait_for_search()
            if "pages" in parts:
                rows += pages(server, read)
            if "export" in parts:
                rows += export(server, read)
            size = server.api("/readyz", read)["ledger"]["size"]
            rows.append(Row("resident memory, front and back", memory(server), "≤ 1 GB at 10 million"))
        if "disk" in parts:
            rows += disk(folder / "data", size)
        write_results(rows, size)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def single_events(server: ServerProcess, token: str) -> list[Row]:
    """One event per request, durable at the answer, with wrk and 64 and 256 connections."""
    event = next(synthetic_events(1))
    del event["id"], event["occurred_at"]
    script = server.data_dir / "wrk.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["Authorization"] = "Bearer {token}"\nwrk.body = [[{json.dumps(event)}]]\n'
    )
    rows = []
    for connections in (64, 256):
        before = server.api_size()
        args = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{_WRK_S}s",
            "--latency",
            "-s",
            str(script),
            server.url + "/api/v1/events",
        ]
        output = subprocess.run(args, capture_output=True, text=True, check=True, timeout=120).stdout
        refused = [line.strip() for line in output.splitlines() if "Non-2xx" in line or "Socket errors" in line]
        rate = (server.api_size() - before) / _WRK_S
        p50, p99 = (
            next(line.split()[1] for line in output.splitlines() if line.strip().startswith(p)) for p in ("50%", "99%")
        )
        note = f" ({'; '.join(refused)})" if refused else ""
        rows.append(
            Row(f"single events, {connections} connections", f"{rate:,.0f}/s, p50 {p50}, p99 {p99}{note}", "≥ 3,000/s")
        )
    script.unlink()
    return rows


def batches(server: ServerProcess, token: str, count: int) -> list[Row]:
    """Batches of 1,000 events with time-ordered ids; the clock stops when search has them too."""
    started = time.monotonic()
    sent_bytes = send_batches(server.port, token, count, 1_000)
    durable_s = time.monotonic() - started
    server.wait_for_search()
    searchable_s = time.monotonic() - started
    return [
        Row(
            f"{count:,} events in batches of 1,000, durable",
            f"{count / durable_s:,.0f}/s ({sent_bytes / count:.0f} bytes each)",
            "≥ 25,000/s",
        ),
        Row("… and searchable", f"{count / searchable_s:,.0f}/s", "search keeps up"),
    ]


QUERIES = {
    "no filter": "",
    "frequent action": "action=login.success",
    "rare action": "action=api_key.created",
    "absent actor": "actor=nobody",
    "frequent actor": "actor=usr_0",
    "one target": "target=incident_77",
    "network": "ip=203.0.7.0/24",
    "outcome": "outcome=denied",
    "three filters": "action=login.*&actor=usr_3&outcome=failure",
    "free text, 7 days": "q=Incident 77&from=7d",
    "free text, all time": "q=Incident 77",
}


def pages(server: ServerProcess, token: str) -> list[Row]:
    """The first page of each kind of filter, and the page's facets and histogram, over HTTP."""
    rows = []
    for name, query in QUERIES.items():
        path = f"/api/v1/events?limit=50&{query}".replace(" ", "%20")
        rows.append(
            Row(f"first page, {name}", timed(lambda path=path: server.api(path, token)), "≤ 50 ms at 1 million")
        )
    fields = "&".join(f"field={field}" for field in ("action", "actor", "target_type", "outcome", "ip", "source"))
    for name, window in (("7 days", "&from=7d"), ("all time", "")):
        facets = timed(lambda window=window: server.api(f"/api/v1/events/facets?{fields}{window}", token))
        histogram = timed(lambda window=window: server.api(f"/api/v1/events/histogram?buckets=60{window}", token))
        rows.append(Row(f"six facets, {name}", facets, "with the histogram ≤ 200 ms at 1 million"))
        rows.append(Row(f"histogram, {name}", histogram, ""))
    return rows


def timed(call: Callable[[], object], times: int = 15) -> str:
    """Median and worst of some calls, in milliseconds, after one to warm up."""
    call()
    took_ms = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        took_ms.append((time.perf_counter() - started) * 1000)
    return f"p50 {statistics.median(took_ms):.0f} ms, worst {max(took_ms):.0f} ms"


def export(server: ServerProcess, token: str) -> list[Row]:
    """Everything as CSV through the API: from the request until the last byte is here."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    path = server.data_dir / "bench.csv"
    started = time.monotonic()
    status, body = server.request("POST", "/api/v1/exports", b'{"format": "csv"}', headers)
    if status not in (201, 202):
        raise RuntimeError(f"{status}: {body[:300]!r}")
    made = json.loads(body)
    while made["status"] in ("queued", "running"):
        time.sleep(0.05)
        made = server.api(f"/api/v1/exports/{made['id']}", token)
    ready_s = time.monotonic() - started
    request = urllib.request.Request(f"{server.url}/api/v1/exports/{made['id']}/file", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response, path.open("wb") as file:
        shutil.copyfileobj(response, file, 1 << 20)
    fetched_s = time.monotonic() - started
    size = path.stat().st_size
    path.unlink()
    shown = f"{made['rows'] / ready_s:,.0f} rows/s, fetched at {made['rows'] / fetched_s:,.0f} rows/s ({size / 1e6:,.0f} MB)"
    return [Row("CSV export of everything", shown, "≥ 200,000/s")]


def disk(folder: Path, size: int) -> list[Row]:
    """Bytes per event of everything in the data directory, after the server has stopped."""
    files = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    largest = sorted(files.items(), key=lambda item: -item[1])[:3]
    shown = ", ".join(f"{name} {count / size:.0f}" for name, count in largest)
    return [Row("disk, everything", f"{sum(files.values()) / size:.0f} bytes/event ({shown})", "≤ 250 bytes/event")]


def memory(server: ServerProcess) -> str:
    """Resident memory of the server's processes."""
    pids = [server.pid, *server.children()]
    kib = [
        int(line.split()[1])
        for pid in pids
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return " + ".join(f"{value / 1024:,.0f} MB" for value in kib)


def fsync_ms(folder: Path) -> float:
    """The median time of writing 4 KiB and fsync, in milliseconds."""
    took = []
    path = folder / "fsync-probe"
    with path.open("wb") as file:
        for _ in range(200):
            started = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - started) * 1000)
    path.unlink()
    return statistics.median(took)


def write_results(rows: list[Row], size: int) -> None:
    """Print the table and write it to RESULTS.md."""
    example = list(synthetic_events(1000))
    lines = [
        "# Benchmark results",
        "",
        (
            f"Written by `./scripts/bench` on {time.strftime('%Y-%m-%d')}: {platform.machine()}, {os.cpu_count()} cores, "
            f"Python {platform.python_version()}, fsync {fsync_ms(Path(tempfile.gettempdir())):.2f} ms, {size:,} events in the log, "
            f"mean event {mean_bytes(example):.0f} bytes. Load generator, server and search share the machine."
        ),
        "",
        "| measured | result | floor |",
        "|---|---|---|",
        *(f"| {row.what} | {row.measured} | {row.floor} |" for row in rows),
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
