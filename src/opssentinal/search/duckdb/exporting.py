"""Exports: the engine itself writes CSV, JSON lines and Parquet, newest first.

CSV and JSON lines are written in portions of time, each sorted on its own: memory stays constant, and there is progress.
The engine writes into a pipe; a thread at its other end hashes what comes and writes the file, which so goes to disk once.

CSV is RFC 4180 with CRLF; a cell beginning with one of = + - @ (also in full width) TAB CR LF gets an apostrophe in
front, so that no spreadsheet runs it as a formula (NUL never reaches the ledger). JSON lines and Parquet are exact.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import duckdb

from opssentinal.errors import Unavailable
from opssentinal.search.answers import Exported, Format
from opssentinal.search.duckdb.conditions import Condition
from opssentinal.search.duckdb.export_rows import (
    CSV_HEADER,
    CSV_LINE,
    CSV_NAMES,
    JSON_LINE,
    PARQUET_COLUMNS,
    QUOTES_ONCE,
)  # fmt: skip
from opssentinal.search.interruption import Interruption

# Of 100,000 the engine holds 80 MB more, of 200,000 another 120, and is hardly faster.
_PORTION_ROWS: Final = 50_000
# As much as a pipe holds where the system allows it; what is in hand at once.
_PIPE_BYTES: Final = 1 << 20
_SYNC_BYTES: Final = 64 << 20
_BOM: Final = b"\xef\xbb\xbf"
_ORDER: Final = "ORDER BY occurred_us DESC, seq DESC"


def export(
    cursor: duckdb.DuckDBPyConnection,
    condition: Condition,
    format: Format,
    path: Path,
    bom: bool,
    progress: Callable[[int], None],
    stop: Interruption,
) -> Exported:
    """Write the file; see SearchStore.export. The cursor is inside a transaction."""
    rows = 0
    made = None
    try:
        with open(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb", buffering=0) as file:
            made = os.fstat(file.fileno())
            whole = _Whole(file)
            if format == "csv":
                whole.write((_BOM if bom else b"") + CSV_HEADER)
            with _pipe_into(whole, quotes_once=format == "csv") as to:
                for bounds in _portions(cursor, condition) if format != "parquet" else [""]:
                    stop.check()
                    rows += _copy(cursor, condition, bounds, format, to)
                    progress(rows)
            os.fsync(file.fileno())
            return Exported(rows, file.tell(), whole.digest.hexdigest())
    except BaseException as error:
        with suppress(FileNotFoundError):
            if made is not None and os.path.samestat(
                path.stat(), made
            ):  # by now somebody else may write one of this name
                path.unlink()
        if isinstance(error, OSError):  # which names the file, and whoever asked need not know where it lies
            raise Unavailable(f"The file cannot be written: {error.strerror}.") from error
        raise


class _Whole:
    """The file that comes out of the pipe, hashed as it grows."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> None:
        """Add some bytes."""
        self.digest.update(content)
        rest = memoryview(content)
        while rest:
            rest = rest[self.file.write(rest) :]


@contextmanager
def _pipe_into(whole: _Whole, *, quotes_once: bool) -> Iterator[str]:
    """The name under which the engine writes to `whole`, which has it all when the block ends.

    Where the file cannot be written, the engine cannot write either, and the reason is that of the file.
    """
    ours, theirs = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        # Refused to a user who has many pipes: then it holds less, and the two ends wait for each other more often.
        with suppress(PermissionError):
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with ThreadPoolExecutor(2, "export") as threads:
        taking = threads.submit(_take, ours, whole, threads, quotes_once)
        try:
            try:
                yield f"/dev/fd/{theirs}"
            finally:
                os.close(theirs)
        except duckdb.IOException:
            taking.result()
            raise
        taking.result()


def _take(pipe: int, whole: _Whole, threads: ThreadPoolExecutor, quotes_once: bool) -> None:
    """Write what comes out of the pipe until its other end is closed, and close this one.

    What is written goes to disk beside that, so that at the end of a long export nobody waits for all of it.
    """
    syncing: Future[None] | None = None
    unsynced, is_marked = 0, False
    try:
        while content := os.read(pipe, _PIPE_BYTES):
            if quotes_once:
                content, is_marked = _with_doubled_quotes(content, is_marked)
            whole.write(content)
            unsynced += len(content)
            if unsynced >= _SYNC_BYTES and (syncing is None or syncing.done()):
                if syncing is not None:
                    syncing.result()
                syncing, unsynced = threads.submit(os.fsync, whole.file.fileno()), 0
    finally:
        os.close(pipe)
    if syncing is not None:
        syncing.result()


def _with_doubled_quotes(content: bytes, is_marked: bool) -> tuple[bytes, bool]:
    """Double the quotes between each two marks, which are left out; also return whether the next bytes are between two.

    The engine compares byte by byte, six times as long as this takes.
    """
    parts = content.split(QUOTES_ONCE)
    first = 0 if is_marked else 1
    parts[first::2] = [part.replace(b'"', b'""') for part in parts[first::2]]
    return b"".join(parts), is_marked ^ (len(parts) % 2 == 0)


def _copy(cursor: duckdb.DuckDBPyConnection, condition: Condition, bounds: str, format: Format, to: str) -> int:
    """COPY one portion. The file name cannot be a parameter, and is written as the literal it is."""
    events = f"FROM event WHERE {condition.sql}{bounds}"
    match format:
        case "csv":
            # Without a quote character the engine writes the one column as it is.
            statement = (
                f"COPY (SELECT {CSV_LINE} FROM (SELECT *, {CSV_NAMES} {events}) {_ORDER}) TO '{to}' "
                "(FORMAT csv, HEADER false, NEW_LINE '\r\n', QUOTE '', USE_TMP_FILE false)"
            )
        case "jsonl":
            statement = (
                f"COPY (SELECT encode({JSON_LINE}) {events} {_ORDER}) TO '{to}' (FORMAT blob, USE_TMP_FILE false)"
            )
        case "parquet":
            statement = (
                f"COPY (SELECT {PARQUET_COLUMNS} {events} {_ORDER}) TO '{to}' "
                "(FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
            )
    done = cursor.execute(statement, condition.parameters).fetchone()
    return int(done[0]) if done else 0


def _portions(cursor: duckdb.DuckDBPyConnection, condition: Condition) -> Iterator[str]:
    """Conditions that cut the events into spans of time of about _PORTION_ROWS each, newest first."""
    [(first, last, count)] = cursor.execute(
        f"SELECT min(occurred_us), max(occurred_us), count(*) FROM event WHERE {condition.sql}", condition.parameters
    ).fetchall()
    if count > _PORTION_ROWS:
        yield from _cut(cursor, condition, first, last)
    elif count:
        yield ""


def _cut(cursor: duckdb.DuckDBPyConnection, condition: Condition, first: int, last: int) -> Iterator[str]:
    """The portions of the events from `first` to `last`, both of which are times of events.

    None has more than twice _PORTION_ROWS, but for events of one and the same microsecond, which stay together. Spans of
    equal length need not hold equally much: one event of 1970 leaves all those of today in one span, so a span that
    holds too much is cut in its turn, from its own first event to its own last.
    """
    step = max((last - first) // 10_000, 1)
    spans = cursor.execute(
        f"SELECT (occurred_us - {first}) // {step} AS span, count(*), min(occurred_us), max(occurred_us) "
        f"FROM event WHERE {condition.sql}{_between(first, last)} GROUP BY 1 ORDER BY 1 DESC",
        condition.parameters,
    ).fetchall()
    oldest, newest, gathered = last, last, 0
    for _, rows, from_us, to_us in spans:
        if gathered and gathered + rows > 2 * _PORTION_ROWS:
            yield _between(oldest, newest)
            gathered = 0
        if not gathered:
            newest = to_us
        oldest = from_us
        gathered += rows
        if gathered > 2 * _PORTION_ROWS and oldest < newest:
            yield from _cut(cursor, condition, oldest, newest)
            gathered = 0
        elif gathered >= _PORTION_ROWS:
            yield _between(oldest, newest)
            gathered = 0
    if gathered:
        yield _between(oldest, newest)


def _between(oldest: int, newest: int) -> str:
    """What to add to a condition for the events of these two times and all between them."""
    return f" AND occurred_us BETWEEN {oldest} AND {newest}"
