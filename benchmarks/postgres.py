"""What a user would pick instead: PostgreSQL with the audit table of an incident-management product, on the same machine.

A throw-away cluster, durable commits (`synchronous_commit` on), modest tuning that helps it (512 MB of shared buffers, WAL
for 4 GB between checkpoints). It is fed through COPY and pgbench without any HTTP in front, and keeps no proof.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import psycopg
from tests.server import free_port

from benchmarks.events import Corpus
from benchmarks.queries import WEEK, queries
from benchmarks.results import Row, timed

_TABLE = """
CREATE TABLE audit_log (
    id text PRIMARY KEY, action text NOT NULL, entity_type text, entity_id text, actor_id text, details jsonb,
    target_email text, ip text, created_at timestamptz NOT NULL
);
CREATE INDEX ON audit_log (entity_type, entity_id);
CREATE INDEX ON audit_log (actor_id, created_at);
CREATE INDEX ON audit_log (created_at);
CREATE INDEX ON audit_log (action, target_email, created_at);
CREATE INDEX ON audit_log (action, ip, created_at);
"""
_PGBENCH_S = 10
_FACETS = ("action", "actor_id", "entity_type", "details->>'outcome'", "ip", "details->>'source'")


@contextmanager
def cluster() -> Iterator[str]:
    """A cluster on a free port; gives the address of its database."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        raise SystemExit("scripts/bench: PostgreSQL is missing: apt-get install postgresql")
    binaries, folder, port = found[-1], Path(tempfile.mkdtemp(prefix="opssentinal-bench-pg-")), free_port()
    owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
    if owner:
        shutil.chown(folder, "postgres")

    def run(*args: str) -> None:
        subprocess.run(
            [*owner, *args], check=True, cwd="/", stdout=subprocess.DEVNULL, env=os.environ | {"HOME": str(folder)}
        )

    database = f"{folder}/db"
    run(f"{binaries}/initdb", "-D", database, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
    options = (
        f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=300 -c shared_buffers=512MB "
        "-c max_wal_size=4GB -c jit=off"
    )
    run(f"{binaries}/pg_ctl", "-D", database, "-l", f"{folder}/log", "-w", "-o", options, "start")
    try:
        yield f"postgresql://bench@127.0.0.1:{port}/postgres"
    finally:
        run(f"{binaries}/pg_ctl", "-D", database, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def measure(corpus: Corpus, count: int) -> dict[str, Row]:
    """Everything that is measured of the product too, under the same names."""
    with cluster() as address, psycopg.connect(address, autocommit=True) as connection:
        connection.execute(_TABLE)
        rows = _single(connection, address, corpus)
        connection.execute("TRUNCATE audit_log")  # those are all of one moment
        rows += _copy_in(connection, corpus, count)
        connection.execute("VACUUM ANALYZE audit_log")
        rows += [*_pages(connection, corpus), *_counts(connection), *_copy_out(connection)]
        [(held, held_bytes)] = connection.execute(
            "SELECT count(*), pg_total_relation_size('audit_log') FROM audit_log"
        ).fetchall()
        note = f"{held:,} events"
        rows.append(Row("disk, everything", held_bytes / held, "B/event", note=note))
    return {row.what: row for row in rows}


def _single(connection: psycopg.Connection, address: str, corpus: Corpus) -> list[Row]:
    """pgbench: one INSERT per transaction, prepared. The values come from a table of one row, so that nothing is quoted."""
    connection.execute("CREATE TABLE sample (LIKE audit_log)")
    connection.execute(
        f"INSERT INTO sample VALUES ({', '.join(['%s'] * 9)})", _columns(next(corpus.bodies(1, 1)).events()[0])
    )
    pgbench = max(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    rows = []
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(
            "INSERT INTO audit_log SELECT gen_random_uuid()::text, action, entity_type, entity_id, actor_id, details, "
            "target_email, ip, now() FROM sample\n"
        )
        script.flush()
        for clients in (64, 256):
            output = subprocess.run(
                [pgbench, "-n", "-M", "prepared", "-f", script.name, "-c", str(clients), "-j", "2", "-T", str(_PGBENCH_S), address],
                capture_output=True, text=True, check=True, timeout=120,
            ).stdout  # fmt: skip
            rate = next(float(line.split()[2]) for line in output.splitlines() if line.startswith("tps"))
            rows.append(Row(f"single events, {clients} connections", rate, "/s", note="INSERT, no HTTP"))
    return rows


def _copy_in(connection: psycopg.Connection, corpus: Corpus, count: int) -> list[Row]:
    """A tenth of the events with a COPY for each thousand, the rest with one for each hundred thousand: the better of the two.

    Only what the server does is timed, not the making of its input.
    """
    rates, bodies = [], corpus.bodies(count, 1_000)
    for batch, share in ((1_000, 0.1), (100_000, 0.9)):
        spent_s, sent = 0.0, 0
        while sent < count * share and (portion := list(islice(bodies, batch // 1_000))):
            lines = [_line(event) for body in portion for event in body.events()]
            text = "".join(lines).encode()
            started = time.monotonic()
            with connection.cursor().copy("COPY audit_log FROM STDIN") as copy:
                copy.write(text)
            spent_s += time.monotonic() - started
            sent += len(lines)
        if sent:
            rates.append((sent / spent_s, f"COPY of {batch:,}, one connection"))
    best, note = max(rates)
    return [Row("batches of 1,000, durable", best, "/s", note=note)]


def _pages(connection: psycopg.Connection, corpus: Corpus) -> list[Row]:
    rows = []
    for query in queries(corpus):
        if query.condition:
            sql = f"SELECT * FROM audit_log WHERE {query.condition} ORDER BY created_at DESC, id DESC LIMIT 50"
            times = 5 if "text" in query.name else 15
            took = timed(lambda sql=sql, values=query.values: connection.execute(sql, values).fetchall(), times)
            rows.append(Row(f"first page, {query.name}", took.p50, "ms"))
    return rows


def _counts(connection: psycopg.Connection) -> list[Row]:
    rows = []
    for name, where in (("7 days", WEEK), ("all time", "true")):

        def count(where: str = where) -> None:
            for facet in _FACETS:
                connection.execute(
                    f"SELECT {facet}, count(*) FROM audit_log WHERE {where} GROUP BY 1 ORDER BY 2 DESC LIMIT 20"
                ).fetchall()
            connection.execute(
                f"SELECT date_trunc('day', created_at), details->>'outcome', count(*) FROM audit_log WHERE {where} GROUP BY 1, 2"
            ).fetchall()

        rows.append(Row(f"facets and histogram, {name}", timed(count, 3).p50, "ms"))
    return rows


def _copy_out(connection: psycopg.Connection) -> list[Row]:
    [(held,)] = connection.execute("SELECT count(*) FROM audit_log").fetchall()
    with tempfile.NamedTemporaryFile() as file:
        started = time.monotonic()
        with connection.cursor().copy(
            "COPY (SELECT * FROM audit_log ORDER BY created_at DESC) TO STDOUT (FORMAT csv, HEADER)"
        ) as copy:
            for block in copy:
                file.write(block)
        return [Row("CSV export of everything", held / (time.monotonic() - started), "rows/s", note="COPY TO")]


def _columns(event: dict[str, object]) -> tuple[str | None, ...]:
    """An event as a row of the table; what has no column of its own is in `details`."""
    actor, targets, context = event.get("actor") or {}, event.get("targets") or [], event.get("context") or {}
    assert isinstance(actor, dict) and isinstance(targets, list) and isinstance(context, dict)
    target = targets[0] if targets else {}
    details = {name: value for name, value in event.items() if name not in ("id", "action", "occurred_at")}
    details |= {"actor": _without(actor, "id", "email"), "context": _without(context, "ip")}
    if targets:
        details["targets"] = [_without(target, "type", "id"), *targets[1:]]
    return (
        str(event["id"]), str(event["action"]), target.get("type"), target.get("id"), actor.get("id"),
        json.dumps(details, ensure_ascii=False), actor.get("email"), context.get("ip"), str(event["occurred_at"]),
    )  # fmt: skip


def _without(fields: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name not in names}


def _line(event: dict[str, object]) -> str:
    """The row as COPY reads it."""
    return (
        "\t".join(
            "\\N"
            if value is None
            else value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
            for value in _columns(event)
        )
        + "\n"
    )
