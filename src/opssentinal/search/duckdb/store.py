"""DuckDBStore: one index file, its one writer and its readers."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import duckdb

from opssentinal.errors import Unavailable
from opssentinal.ledger.bundle import Bundle
from opssentinal.query import Filter
from opssentinal.search.answers import (
    Exported,
    Extent,
    FacetValue,
    Format,
    Histogram,
    Order,
    Overview,
    Page,
    Position,
    SeenAction,
)  # fmt: skip
from opssentinal.search.duckdb import copying, exporting, ingestion, loading, scanning, schema, segments
from opssentinal.search.duckdb.conditions import condition_of
from opssentinal.search.duckdb.failures import ours, roll_back
from opssentinal.search.duckdb.questions import Lasting, Questions
from opssentinal.search.duckdb.readers import Readers
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import Corrupt, GivenUp, Read, Unsynced

_CATALOG = "search"
# Rows that are in the write-ahead log until they are written to the file together: as many as the engine compresses at once, some
# 40 MB of log. With half as many nearly every row is compressed twice (27 µs of processor per event instead of 17), and the file
# keeps the room of the first time.
_CHECKPOINT_ROWS = loading.PORTION_EVENTS
# And this few stay there when nothing more comes.
_SETTLED_ROWS = 10_000
# Batches from this size on are worth a change of the number of threads, which takes a millisecond.
_LARGE_BATCH_ROWS = 2_000


class DuckDBStore:
    """The SearchStore on DuckDB; see there for what it promises. Raises Corrupt where the file cannot be used.

    A missing file becomes an empty index. `memory_mb` bounds what the engine may use, `threads` 0 is one per core.

    The store says when the file is written: by itself the engine would do it with every batch, and compress what the last row
    group holds already again and again (28 µs per event instead of 17).
    """

    def __init__(self, path: Path, *, memory_mb: int = 640, threads: int = 0) -> None:
        self.path = path
        # What is committed, and what the transaction reaches that is open between the two.
        self._reached = self._taken = loading.Reached()
        self._is_clean = True
        self._kept_rows = self._kept_bytes = 0
        is_new = not path.exists()
        if is_new:
            # A log without its file is a leftover: its changes belong to a file that is gone.
            _wal(path).unlink(missing_ok=True)
        self._unsaved_rows = 0
        self._lasting = Lasting({}, scanning.Span())
        self._portions_at_once = max(memory_mb // loading.PORTION_MB, 1)
        self._connection = duckdb.connect(config=schema.engine_settings(memory_mb, threads, f"{path}.tmp"))
        try:
            schema.attach(self._connection, path, _CATALOG)
            self._connection.execute(f"USE {_CATALOG}")
            self._readers = Readers(self._connection, _CATALOG)
            os.chmod(path, 0o600)
            [(self._threads,)] = self._connection.execute("SELECT current_setting('threads')").fetchall()
            if is_new:
                schema.create(self._connection)
            self._read_meta()
        except duckdb.Error as error:
            self._connection.close()
            raise ours(error, opening=True) from error
        except BaseException:
            self._connection.close()
            raise

    def _read_meta(self) -> None:
        rows = self._connection.execute(
            "SELECT layout, position, minimum_index, fingerprint, is_clean FROM meta ORDER BY position DESC"
        ).fetchall()
        if not rows or rows[0][0] != schema.layout():
            raise Corrupt("The index has another layout.")
        _, *reached, self._is_clean = rows[0]
        self._reached = self._taken = loading.Reached(*reached)
        # Below the minimum index there are held events, of which there may be any number.
        [(count, last)] = self._connection.execute(
            "SELECT count(*) FILTER (seq >= ?), max(seq) FROM event", [self.minimum_index]
        ).fetchall()
        if (last is not None and last >= self.position) or count > self.position - self.minimum_index:
            raise Corrupt("The index has rows beyond its position.")
        if len(rows) > 1:  # we stopped while loading
            self._fold_meta()

    @property
    def position(self) -> int:
        """See SearchStore.position."""
        return self._reached.position

    @property
    def taken(self) -> int:
        """See SearchStore.taken."""
        return self._taken.position

    def ingest(self, bundles: Sequence[Bundle], *, may_wait: bool = False) -> int:
        """See SearchStore.ingest.

        What may wait is in a transaction that stays open until it has a whole row group: see `loading`.
        """
        end_seq = bundles[-1].end_seq if bundles else self.taken
        with self._on_one_thread(end_seq - self.position):
            while bundles:
                whole_at = self.position + loading.PORTION_EVENTS
                now, bundles = loading.cut(bundles, whole_at if may_wait or self._is_keeping else end_seq)
                self._take(now)
                if self.taken >= whole_at or self._kept_bytes >= loading.PORTION_TEXT_BYTES:
                    self._commit()
            if not may_wait:
                self._commit()
        return self.taken

    @property
    def _is_keeping(self) -> bool:
        """Whether a transaction is open."""
        return self._taken is not self._reached

    def _take(self, bundles: Sequence[Bundle]) -> None:
        """Add events to the transaction that is open, or begin one."""
        stretch = loading.Stretch(bundles, self.taken)
        with self._all_or_nothing() as connection:
            if not self._is_keeping:
                connection.execute("BEGIN")
            inserted = ingestion.insert(connection, stretch)
            self._taken = self._taken.through(stretch)
        self._kept_rows += inserted.events
        self._kept_bytes += inserted.text_bytes

    def _commit(self) -> None:
        """Commit the transaction that is open, if one is."""
        if not self._is_keeping:
            return
        with self._all_or_nothing() as connection:
            self._write_meta(self._taken, self._is_clean)
            connection.execute("COMMIT")
        self._reached = self._taken
        self._unsaved_rows += self._kept_rows
        self._kept_rows = self._kept_bytes = 0
        if self._unsaved_rows >= _CHECKPOINT_ROWS:
            self._save()

    def settle(self) -> None:
        """See SearchStore.settle."""
        self._commit()
        if self._unsaved_rows >= _SETTLED_ROWS:
            self._save()

    def load(self, end_seq: int, read: Read) -> Generator[int]:
        """See SearchStore.load."""
        if end_seq < self.taken + loading.PORTION_EVENTS:
            return
        self._commit()
        firsts = range(self.position, end_seq - loading.PORTION_EVENTS + 1, loading.PORTION_EVENTS)
        threads = min(self._threads, self._portions_at_once)
        try:
            with self._on_one_thread(end_seq - self.position):
                portions = loading.portions(self._connection, _CATALOG, firsts, read, threads)
                with closing(portions):
                    for cursor, stretch in portions:
                        reached = self._reached.through(stretch)
                        # The row that the portion before has written cannot be changed in this transaction, which is as old.
                        cursor.execute(
                            "INSERT INTO meta VALUES (?, ?, ?, ?, ?)", [schema.layout(), *reached, self._is_clean]
                        )
                        cursor.execute("COMMIT")
                        self._reached = self._taken = reached
                        yield self.position
                self._fold_meta()
                self._save()
        except duckdb.Error as error:
            raise ours(error) from error

    def _write_meta(self, reached: loading.Reached, is_clean: bool) -> None:
        """Say what the transaction reaches, in a new row: while a question goes on that began before an UPDATE, which may be an
        export, the engine would refuse to write the file."""
        self._connection.execute(
            "DELETE FROM meta; INSERT INTO meta VALUES (?, ?, ?, ?, ?)", [schema.layout(), *reached, is_clean]
        )

    def _fold_meta(self) -> None:
        """Keep one row of those that portions have written, each with its position: the last one."""
        self._connection.execute("DELETE FROM meta WHERE position < ?", [self.position])

    def _save(self) -> None:
        self._checkpoint()
        with self._writing() as connection:
            segments.describe(connection, self.position)

    @contextmanager
    def _on_one_thread(self, rows: int) -> Iterator[None]:
        """Work through a large batch on the calling thread alone.

        On several, the engine writes the rows twice, into collections first, and whoever waits for the others spins: 10 µs
        of processor per row instead of 6, and no sooner done. Questions under way go on with fewer threads for the moment.
        """
        if rows < _LARGE_BATCH_ROWS or self._threads == 1:
            yield
            return
        try:
            self._connection.execute("SET threads = 1")
        except duckdb.Error as error:
            raise ours(error) from error
        try:
            yield
        finally:
            # Refused only by an engine that has given up: what went wrong before says why, and must not be lost for this.
            with suppress(duckdb.Error):
                self._connection.execute(f"SET threads = {self._threads:d}")

    def _checkpoint(self) -> None:
        """Write what is in the log to the file. The engine may refuse for as long as a question goes on, and the next batch tries
        again: until then the rows are in the log, and nothing is lost. FORCE would keep every new question waiting too."""
        try:
            self._connection.execute(f"CHECKPOINT {_CATALOG}")
        except duckdb.TransactionException:
            return
        except duckdb.Error as error:
            raise ours(error) from error
        self._unsaved_rows = 0

    def forget(self, minimum_index: int, held: Sequence[int] = ()) -> int:
        """See SearchStore.forget."""
        self._commit()
        with self._writing() as connection:
            done = connection.execute(
                "DELETE FROM event WHERE seq < ? AND seq NOT IN (SELECT unnest(?::BIGINT[]))",
                [minimum_index, list(held)],
            ).fetchone()
            forgotten = int(done[0]) if done else 0
            reached = self._reached._replace(minimum_index=max(self.minimum_index, minimum_index))
            is_clean = self._is_clean and forgotten == 0
            self._write_meta(reached, is_clean)
        self._reached = self._taken = reached
        self._is_clean = is_clean
        return forgotten

    @property
    def minimum_index(self) -> int:
        """See SearchStore.minimum_index."""
        return self._reached.minimum_index

    @property
    def is_clean(self) -> bool:
        """See SearchStore.is_clean."""
        return self._is_clean

    def rewrite(self, path: Path, stop: Interruption) -> None:
        """See SearchStore.rewrite."""
        is_read = False
        try:
            with self._readers.cursor(stop) as cursor:
                position = copying.fill(cursor, path)
                is_read = True
                copying.finish(cursor, position, stop)
            with self._readers.cursor(Interruption()) as cursor:
                copying.let_go(cursor)
        except BaseException as error:
            with suppress(Unavailable, Corrupt), self._readers.cursor(Interruption()) as cursor:
                copying.let_go(cursor)
            if isinstance(error, GivenUp | Unsynced) or (is_read and isinstance(error, Corrupt)):
                # Of the new file; mostly the engine goes on with the one in use.
                raise (Unavailable if self._goes_on() else GivenUp)(str(error)) from error
            raise

    def _goes_on(self) -> bool:
        with suppress(Unavailable, Corrupt):
            self.rows()
            return True
        return False

    def page(
        self, filter: Filter, limit: int, after: Position | None, order: Order, head: int | None, stop: Interruption
    ) -> Page:
        """See SearchStore.page."""
        with self._asking(stop) as ask:
            return ask.page(filter, limit, after, order, head)

    def overview(
        self,
        filter: Filter,
        fields: Sequence[str],
        values: int,
        buckets: int,
        tz: str,
        head: int | None,
        stop: Interruption,
    ) -> Overview:
        """See SearchStore.overview."""
        with self._asking(stop) as ask:
            return ask.overview(filter, fields, values, buckets, tz, head)

    def facets(
        self, filter: Filter, fields: Sequence[str], values: int, head: int | None, stop: Interruption
    ) -> dict[str, list[FacetValue]]:
        """See SearchStore.facets."""
        with self._asking(stop) as ask:
            return ask.facets(filter, fields, values, head)

    def histogram(self, filter: Filter, buckets: int, tz: str, head: int | None, stop: Interruption) -> Histogram:
        """See SearchStore.histogram."""
        with self._asking(stop) as ask:
            return ask.histogram(filter, buckets, tz, head)

    def extent(self, filter: Filter, head: int | None, stop: Interruption) -> Extent:
        """See SearchStore.extent."""
        with self._asking(stop) as ask:
            return ask.extent(filter, head)

    def neighbours(self, seq: int, filter: Filter, stop: Interruption) -> tuple[int | None, int | None]:
        """See SearchStore.neighbours."""
        with self._asking(stop) as ask:
            return ask.neighbours(seq, filter)

    def seen_actions(self, filter: Filter, stop: Interruption) -> list[SeenAction]:
        """See SearchStore.seen_actions."""
        with self._asking(stop) as ask:
            return ask.seen_actions(filter)

    def export(
        self,
        filter: Filter,
        head: int | None,
        format: Format,
        path: Path,
        bom: bool,
        progress: Callable[[int], None],
        stop: Interruption,
    ) -> Exported:
        """See SearchStore.export."""
        with self._readers.reading(stop) as cursor:
            condition = condition_of(filter, Questions(cursor, stop, self._lasting), head=head)
            return exporting.export(cursor, condition, format, path, bom, progress, stop)

    def rows(self) -> int:
        """See SearchStore.rows."""
        with self._readers.reading(Interruption()) as cursor:
            [(count,)] = cursor.execute("SELECT count(*) FROM event").fetchall()
        return int(count)

    def file_bytes(self) -> int:
        """See SearchStore.file_bytes."""
        return sum(path.stat().st_size for path in (self.path, _wal(self.path)) if path.exists())

    def close(self) -> None:
        """See SearchStore.close."""
        self._readers.withdraw()
        roll_back(
            self._connection
        )  # the engine may end the process where a transaction is closed whose file it has given up
        self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """One transaction of the writer: all of it or nothing."""
        with self._all_or_nothing() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _all_or_nothing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Part of the writer's transaction, of which nothing is left after an error."""
        try:
            yield self._connection
        except BaseException as error:
            self._taken = self._reached
            self._kept_rows = self._kept_bytes = 0
            roll_back(self._connection)
            if isinstance(error, duckdb.Error):
                raise ours(error) from error
            raise

    @contextmanager
    def _asking(self, stop: Interruption) -> Iterator[Questions]:
        with self._readers.reading(stop) as cursor:
            yield Questions(cursor, stop, self._lasting)


def _wal(path: Path) -> Path:
    return path.with_name(path.name + ".wal")
