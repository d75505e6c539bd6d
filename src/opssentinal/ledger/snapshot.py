"""snapshot(): several reads of one moment, for answers whose parts have to agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def snapshot() -> Iterator[None]:
    """Have everything that is read inside be of one moment, that of the first read; nothing may be written inside.

    Waits for no writer, and no writer waits for it. RuntimeError within a transaction, which has a moment of its own.
    """
    if connection.in_atomic_block:
        raise RuntimeError("a snapshot is no part of another transaction")
    with _deferred() if connection.vendor == "sqlite" else _repeatable_read():
        yield


@contextmanager
def _deferred() -> Iterator[None]:
    # Not atomic(), whose transactions are all immediate ones here: reading would take its turn among the writers.
    with connection.cursor() as cursor:
        cursor.execute("BEGIN DEFERRED")
        try:
            yield
        finally:
            if connection.connection is not None and connection.connection.in_transaction:
                cursor.execute("ROLLBACK")


@contextmanager
def _repeatable_read() -> Iterator[None]:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
