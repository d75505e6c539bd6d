"""Those who read the index: each with a cursor of its own, and all of them withdrawn when it is closed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb

from opssentinal.search.duckdb.failures import ours, roll_back
from opssentinal.search.interruption import Interruption

# Who is to end is told so this often. Who does not hear it for so long is waited for by the engine.
_WITHDRAW_AGAIN_S: Final = 0.02
_WITHDRAW_S: Final = 5.0


class Readers:
    """Cursors of a connection, for any thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, catalog: str) -> None:
        self._connection = connection
        self._catalog = catalog
        self._under_way: list[Interruption] = []
        self._is_closing = False

    @contextmanager
    def reading(self, stop: Interruption) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor inside one transaction, so that all answers are of one moment."""
        with self.cursor(stop) as cursor:
            cursor.execute("BEGIN")
            yield cursor

    @contextmanager
    def cursor(self, stop: Interruption) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor that `stop` interrupts. Raises the errors of the contract in place of the engine's."""
        self._under_way.append(stop)
        try:
            if self._is_closing:
                stop.cancel("closing")
                raise stop.error()
            with self._connection.cursor() as cursor:
                try:
                    with stop.working(cursor.interrupt):
                        cursor.execute(f"USE {self._catalog}")
                        yield cursor
                finally:
                    # The engine ends the process where a transaction is closed whose file it has given up.
                    roll_back(cursor)
        except duckdb.Error as error:
            if self._is_closing and isinstance(error, duckdb.ConnectionException | duckdb.InvalidInputException):
                stop.cancel("closing")  # who was not heard of, and lost the connection
            elif not isinstance(error, duckdb.InterruptException):
                raise ours(error) from error
            raise stop.error() from error
        finally:
            self._under_way.remove(stop)

    def withdraw(self) -> None:
        """End what is under way and refuse what comes: the engine would wait for it before closing, however long it takes."""
        self._is_closing = True
        end = time.monotonic() + _WITHDRAW_S
        while (readers := tuple(self._under_way)) and time.monotonic() < end:
            for stop in readers:
                stop.cancel("closing")
            time.sleep(_WITHDRAW_AGAIN_S)
