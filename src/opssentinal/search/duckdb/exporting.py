"""Exports: the engine itself writes CSV, JSON lines and Parquet, newest first.

CSV and JSON lines are written in portions of time, each sorted on its own: memory stays constant, and there is progress.

CSV is RFC 4180 with CRLF; a cell beginning with one of = + - @ (also in full width) TAB CR LF gets an apostrophe in
front, so that no spreadsheet runs it as a formula (NUL never reaches the ledger). JSON lines and Parquet are exact.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import IO, Final

import duckdb

from opssentinal.search.answers import Exported, Format
from opssentinal.search.duckdb.conditions import Condition
from opssentinal.search.duckdb.export_rows import CSV_HEADER, CSV_LINE, CSV_NAMES, JSON_LINE, PARQUET_COLUMNS
from opssentinal.search.interruption import Interruption

_PORTION_ROWS: Final = 200_000
_COPY_BYTES: Final = 1 << 20
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
    portions = [path.with_name(f"{path.name}.portion{number}") for number in (1, 2)]
    rows = 0
    try:
        with open(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            whole = _Whole(file)
            if format == "csv":
                whole.write((_BOM if bom else b"") + CSV_HEADER)
            # While the engine writes one portion, a thread copies and hashes the one before it.
            with ThreadPoolExecutor(1, "export-copy") as copier:
                copying: Future[None] | None = None
                spans = _portions(cursor, condition) if format != "parquet" else [""]
                for bounds, portion in zip(spans, cycle(portions), strict=False):
                    stop.check()
                    portion.touch(mode=0o600)
                    rows += _copy(cursor, condition, bounds, format, portion)
                    if copying is not None:
                        copying.result()
                    copying = copier.submit(whole.take, portion)
                    progress(rows)
                if copying is not None:
                    copying.result()
            file.flush()
            return Exported(rows, file.tell(), whole.digest.hexdigest())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        for portion in portions:
            portion.unlink(missing_ok=True)


class _Whole:
    """The file that portions become, hashed as it grows."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> None:
        """Add some bytes."""
        self.digest.update(content)
        self._file.write(content)

    def take(self, portion: Path) -> None:
        """Add a file, and have it on disk: at the end of a long export nobody then waits for all of it."""
        with portion.open("rb") as made:
            while content := made.read(_COPY_BYTES):
                self.write(content)
        self._file.flush()
        os.fsync(self._file.fileno())


def _copy(cursor: duckdb.DuckDBPyConnection, condition: Condition, bounds: str, format: Format, to: Path) -> int:
    """COPY one portion. The file name cannot be a parameter, and is written as the literal it is.

    Straight into that file: the engine would leave one of its own behind where the disk fails, with events in it.
    """
    name = "'" + str(to).replace("'", "''") + "'"
    events = f"FROM event WHERE {condition.sql}{bounds}"
    match format:
        case "csv":
            # Without a quote character the engine writes the one column as it is.
            statement = (
                f"COPY (SELECT {CSV_LINE} FROM (SELECT *, {CSV_NAMES} {events}) {_ORDER}) TO {name} "
                "(FORMAT csv, HEADER false, NEW_LINE '\r\n', QUOTE '', USE_TMP_FILE false)"
            )
        case "jsonl":
            statement = (
                f"COPY (SELECT encode({JSON_LINE}) {events} {_ORDER}) TO {name} (FORMAT blob, USE_TMP_FILE false)"
            )
        case "parquet":
            statement = (
                f"COPY (SELECT {PARQUET_COLUMNS} {events} {_ORDER}) TO {name} "
                "(FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
            )
    done = cursor.execute(statement, condition.parameters).fetchone()
    return int(done[0]) if done else 0


def _portions(cursor: duckdb.DuckDBPyConnection, condition: Condition) -> Iterator[str]:
    """Conditions that cut the events into spans of time of about _PORTION_ROWS each, newest first."""
    [(first, last, count)] = cursor.execute(
        f"SELECT min(occurred_us), max(occurred_us), count(*) FROM event WHERE {condition.sql}", condition.parameters
    ).fetchall()
    if count <= _PORTION_ROWS:
        if count:
            yield ""
        return
    step = max((last - first) // 10_000, 1)
    spans = cursor.execute(
        f"SELECT (occurred_us - {first}) // {step} AS span, count(*) FROM event WHERE {condition.sql} GROUP BY 1 ORDER BY 1 DESC",
        condition.parameters,
    ).fetchall()
    upper, gathered = last + 1, 0
    for span, rows in spans:
        gathered += rows
        lower = first + span * step
        if gathered >= _PORTION_ROWS:
            yield f" AND occurred_us >= {lower} AND occurred_us < {upper}"
            upper, gathered = lower, 0
    if gathered:
        yield f" AND occurred_us >= {first} AND occurred_us < {upper}"
