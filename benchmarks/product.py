"""The measurements of the running product, each through the real server over HTTP."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from tests.server import ServerProcess

from benchmarks.events import Body, Corpus
from benchmarks.load import send_batches
from benchmarks.queries import queries
from benchmarks.results import Row, timed

WRK_S = 10
FACETS = ("action", "actor", "target_type", "outcome", "ip", "source")


def single_events(server: ServerProcess, token: str, corpus: Corpus) -> list[Row]:
    """One event per request, durable at the answer: the most that goes, and what answers take at half of it."""
    event = next(corpus.bodies(1, 1)).events()[0]
    del event["id"], event["occurred_at"]
    script = server.data_dir / "wrk.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["Authorization"] = "Bearer {token}"\nwrk.body = [==[{json.dumps(event)}]==]\n'
    )
    rows = []
    for connections in (64, 256):
        rate, p50, p99 = _wrk(server, script, connections, WRK_S)
        note = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
        rows.append(Row(f"single events, {connections} connections", rate, "/s", "≥ 8,000/s, ≥ 1.3 ×", note))
    most = rows[0].ours
    # The load generator cannot hold a rate; fewer connections make about half of it.
    half = min(
        (_wrk(server, script, connections, 4) for connections in (4, 8, 16)), key=lambda run: abs(run[0] - most / 2)
    )
    note = f"at {half[0]:,.0f}/s"
    rows.append(Row("acknowledgement at half load, p50", half[1], "ms", "≤ 5 ms", note))
    rows.append(Row("acknowledgement at half load, p99", half[2], "ms", "≤ 20 ms", note))
    script.unlink()
    return rows


def _wrk(server: ServerProcess, script: Path, connections: int, seconds: int) -> tuple[float, float, float]:
    """Events per second, and the median and the 99th percentile of the answers in milliseconds. Raises on any refusal."""
    before = server.api_size()
    args = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(script),
        f"{server.url}/api/v1/events",
    ]
    output = subprocess.run(args, capture_output=True, text=True, check=True, timeout=120).stdout
    if refused := [line.strip() for line in output.splitlines() if "Non-2xx" in line or "Socket errors" in line]:
        raise RuntimeError("; ".join(refused))
    found = {name: _ms(value) for name, value in re.findall(r"^\s+(50|99)%\s+(\S+)$", output, re.MULTILINE)}
    return (server.api_size() - before) / seconds, found["50"], found["99"]


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def batches(server: ServerProcess, token: str, bodies: Iterable[Body], count: int, batch: int) -> list[Row]:
    """Batches with time-ordered ids; the second clock stops when search has them too.

    Some 8,000 events are on their way at once, in 16 requests at most.
    """
    with _resident(server) as most:
        started = time.monotonic()
        send_batches(server.port, token, bodies, min(8_000 // batch, 16))
        durable_s = time.monotonic() - started
        server.wait_for_search()
        searchable_s = time.monotonic() - started
    note = " + ".join(f"{each:.0f}" for each in max(most, key=sum))
    return [
        Row(f"batches of {batch:,}, durable", count / durable_s, "/s", "≥ 50,000/s, ≥ 2 ×", f"{count:,} events"),
        Row(f"batches of {batch:,}, searchable", count / searchable_s, "/s", "≥ 50,000/s"),
        Row(f"resident memory, batches of {batch:,}", max(map(sum, most)), "MB", "≤ 1,000 MB", note),
    ]


@contextmanager
def _resident(server: ServerProcess) -> Iterator[list[list[float]]]:
    """Take down the resident memory of the server's processes in MB, twice a second until the end of the block."""
    taken, ended = [_resident_mb(server)], threading.Event()

    def take() -> None:
        while not ended.wait(0.5):
            taken.append(_resident_mb(server))

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield taken
    finally:
        ended.set()
        thread.join()


def found_at_once(server: ServerProcess, write: str, read: str) -> list[Row]:
    """Events that are looked for as soon as they are acknowledged: whether each is found, and what the search takes."""
    headers = {"Authorization": f"Bearer {write}", "Content-Type": "application/json"}
    names = iter(range(10**6))

    def look() -> None:
        name = f"probe-{next(names)}"
        event = {"action": "bench.probed", "actor": {"type": "service", "id": name}}
        status, body = server.request("POST", "/api/v1/events", json.dumps(event).encode(), headers)
        if status != 201:
            raise RuntimeError(f"{status}: {body[:300]!r}")
        if len(server.api(f"/api/v1/events?actor={name}", read)["data"]) != 1:
            raise RuntimeError(f"{name} was acknowledged and is not found")

    took = timed(look)
    return [Row("sent, acknowledged and found", took.p50, "ms", "at the acknowledgement", f"worst {took.p99:.0f}")]


def pages(server: ServerProcess, token: str, corpus: Corpus) -> list[Row]:
    """The first page of each kind of filter, the page ten thousand, and the page's facets and histogram."""
    rows = []
    # The log is filled in order of time: while it is small, its last week is not the one that ends now.
    [last] = server.api("/api/v1/events?source=bench&limit=1", token)["data"]
    week = {"from": f"{datetime.fromisoformat(last['occurred_at']) - timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}"}
    for query in queries(corpus):
        parameters = {"limit": "50"} | query.parameters | (week if "7 days" in query.name else {})
        path = f"/api/v1/events?{urllib.parse.urlencode(parameters)}"
        took = timed(lambda path=path: server.api(path, token))
        name = query.name
        goal = "≤ 150 ms" if "7 days" in name else "≤ 1,500 ms" if "text" in name else "≤ 40 ms, p99 ≤ 120 ms"
        rows.append(Row(f"first page, {name}", took.p50, "ms", goal, f"worst {took.p99:.0f}"))
    fields = "&".join(f"field={field}" for field in FACETS)
    for name, window, goal in (
        ("7 days", f"&{urllib.parse.urlencode(week)}", "≤ 120 ms"),
        ("all time", "", "≤ 700 ms"),
    ):

        def count(window: str = window) -> None:
            server.api(f"/api/v1/events/facets?{fields}{window}", token)
            server.api(f"/api/v1/events/histogram?buckets=60{window}", token)

        took = timed(count, 7)
        rows.append(Row(f"facets and histogram, {name}", took.p50, "ms", goal, f"worst {took.p99:.0f}"))
    return rows + deep_page(server, token)


def deep_page(server: ServerProcess, token: str, page: int = 10_000) -> list[Row]:
    """The page that follows `page` others of fifty, reached by cursors of larger pages."""
    cursor, passed = "", 0
    while passed < page * 50:
        following = server.api(f"/api/v1/events?limit=1000{cursor}", token)
        if not following["has_more"]:
            return []
        cursor, passed = "&cursor=" + urllib.parse.quote(following["next_cursor"]), passed + 1000
    # A cursor belongs to its filter, not to the size of its pages.
    took = timed(lambda: server.api(f"/api/v1/events?limit=50{cursor}", token))
    return [Row(f"page {page:,}", took.p50, "ms", "as page 1", f"worst {took.p99:.0f}")]


def export(server: ServerProcess, token: str) -> list[Row]:
    """Everything as CSV through the API: from the request until the file is made, and until its last byte is here."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    path = server.data_dir / "bench.csv"
    with _resident(server) as most:
        started = time.monotonic()
        status, body = server.request("POST", "/api/v1/exports", b'{"format": "csv"}', headers)
        if status not in (201, 202):
            raise RuntimeError(f"{status}: {body[:300]!r}")
        made = json.loads(body)
        while made["status"] in ("queued", "running"):
            time.sleep(0.05)
            made = server.api(f"/api/v1/exports/{made['id']}", token)
        if made["status"] != "ready":
            raise RuntimeError(f"the export is {made['status']}")
        ready_s = time.monotonic() - started
    request = urllib.request.Request(f"{server.url}/api/v1/exports/{made['id']}/file", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response, path.open("wb") as file:
        shutil.copyfileobj(response, file, 1 << 20)
    fetched_s = time.monotonic() - started
    path.unlink()
    note = f"fetched at {made['rows'] / fetched_s:,.0f}"
    return [
        Row("CSV export of everything", made["rows"] / ready_s, "rows/s", "≥ 400,000/s, ≥ 1.5 ×", note),
        Row("resident memory, CSV export", max(map(sum, most)), "MB", "constant, ≤ 1,000 MB"),
    ]


def memory(server: ServerProcess) -> list[Row]:
    """Resident memory of the server's processes, after pages and an export."""
    mb = _resident_mb(server)
    return [Row("resident memory", sum(mb), "MB", "≤ 1,000 MB", " + ".join(f"{each:.0f}" for each in mb))]


def _resident_mb(server: ServerProcess) -> list[float]:
    mb = []
    for pid in (server.pid, *server.children()):
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        mb.append(next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024)
    return mb


def restart(server: ServerProcess) -> list[Row]:
    """From the command until the server answers and search has caught up."""
    server.stop()
    started = time.monotonic()
    server.start()
    server.wait_for_search()
    return [Row("start-up", time.monotonic() - started, "s", "≤ 3 s")]


def reindex(server: ServerProcess, size: int) -> list[Row]:
    """The whole index built again by the command, while the server goes on."""
    started = time.monotonic()
    server.command("reindex", timeout_s=3_600)
    return [Row("reindex", size / (time.monotonic() - started), "events/s", "≥ 150,000/s")]


def disk(folder: Path, size: int) -> list[Row]:
    """Bytes per event of everything in the data directory but exports."""
    files = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file() and path.suffix != ".csv"}
    note = ", ".join(
        f"{name} {count / size:.0f}" for name, count in sorted(files.items(), key=lambda item: -item[1])[:2]
    )
    return [Row("disk, everything", sum(files.values()) / size, "B/event", "≤ 200 B, ≥ 3 ×", note)]
