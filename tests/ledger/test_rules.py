"""The rules that keep the log true, each with the fault that a prototype had."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from opssentinal.back import _IdleCompaction
from opssentinal.errors import ConfigError, InvalidEvent, Overloaded
from opssentinal.events.model import Actor, Event
from opssentinal.ledger.maintenance import compact, maintenance
from opssentinal.ledger.reader import head, read_event
from opssentinal.ledger.recording import recording
from tests.ledger.conftest import commit, make_event

Check = Callable[[], None]
sqlite_only = pytest.mark.skipif("connection.vendor != 'sqlite'", reason="a rule of SQLite")


@sqlite_only
def test_a_commit_is_durable_and_deleted_text_is_overwritten(ledger: Check) -> None:
    """The connection has the settings that an acknowledgement rests on."""
    wanted = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "auto_vacuum": 2}
    with connection.cursor() as cursor:
        found = {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
    assert found == wanted


@sqlite_only
def test_there_is_one_sqlite_library(ledger: Check) -> None:
    """The bundled library is the one in use, under every name: a second one would drop the first one's locks."""
    script = (
        "import django; django.setup()\n"
        "from django.db import connection; connection.ensure_connection()\n"
        "import sqlite3, pysqlite3, sys\n"
        "assert sqlite3 is pysqlite3 and '_sqlite3' not in sys.modules\n"
        "assert sqlite3.sqlite_version_info >= (3, 51, 3)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@sqlite_only
def test_an_sqlite_that_corrupts_is_refused(ledger: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a library from before the repair of the write-ahead log nothing is opened."""
    connection.close()
    with monkeypatch.context() as patch:
        patch.setattr("sqlite3.dbapi2.sqlite_version_info", (3, 40, 1))
        with pytest.raises(ConfigError, match="corrupt"):
            connection.ensure_connection()


@sqlite_only
def test_a_new_connection_does_not_wait_for_a_writer(ledger: Check) -> None:
    """Opening a connection and reading through it goes on while another transaction is open."""
    sizes: list[int] = []

    def read() -> None:
        sizes.append(head().size)
        connection.close()

    with recording() as record:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(4)  # below the busy timeout
        assert sizes == [0]
        record(make_event(1))


def test_a_change_and_its_record_commit_together(ledger: Check, django_user_model: Any) -> None:
    """Whichever side fails, neither happened."""
    good = Event(action="user.created", actor=Actor(type="user", id="usr_1"))
    with recording() as record:
        django_user_model.objects.create_user("both@example.com")
        record(good)
    assert read_event(0).source == "opssentinal"
    with pytest.raises(InvalidEvent), recording() as record:
        django_user_model.objects.create_user("badevent@example.com")
        record(Event(action="not an action", actor=Actor(type="user", id="usr_1")))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_bundle RENAME TO away")
    with pytest.raises(Exception, match="ledger_bundle"), recording() as record:
        django_user_model.objects.create_user("norecord@example.com")
        record(good)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE away RENAME TO ledger_bundle")
    with pytest.raises(ZeroDivisionError), recording() as record:
        record(good)
        _ = 1 // 0
    assert head().size == 1
    assert [user.email for user in django_user_model.objects.all()] == ["both@example.com"]
    ledger()


def test_recording_is_the_outermost_transaction(ledger: Check) -> None:
    """Inside another transaction it refuses, since its end would promise what is not durable yet."""
    with pytest.raises(RuntimeError), transaction.atomic(), recording() as record:
        record(make_event(1))
    assert head().size == 0


def test_writers_take_turns_in_order(ledger: Check) -> None:
    """Transactions of one process begin in the order in which they were asked for; none starves."""
    order: list[int] = []
    threads = []

    def write(number: int) -> None:
        try:
            with recording() as record:
                order.append(number)
                record(make_event(number))
        finally:
            connection.close()

    with recording() as record:
        for number in range(8):
            threads.append(threading.Thread(target=write, args=(number,)))
            threads[-1].start()
            time.sleep(0.02)  # so that each has asked before the next does
        record(make_event(99))
    for thread in threads:
        thread.join()
    assert sorted(order) == list(range(8))
    if connection.vendor == "sqlite":
        assert order == list(range(8))
    assert head().size == 9
    ledger()


def test_maintenance_is_one_at_a_time(ledger: Check) -> None:
    """Compaction and pruning never rewrite the same rows at once."""
    commit([make_event(1)])
    look = _IdleCompaction()
    look(threading.Event())
    with maintenance():
        with pytest.raises(Overloaded):
            compact()
        look(threading.Event())  # which is no failure of the task
    assert compact() == 0


def test_maintenance_of_another_process_is_respected(ledger: Check) -> None:
    """A command that prunes keeps out while the server compacts, and the other way round."""
    name = str(connection.settings_dict["NAME"])
    script = (
        "import sys; from opssentinal import settings; settings.DATABASES['default']['NAME'] = sys.argv[1]\n"
        "import django; django.setup()\n"
        "from opssentinal.ledger.maintenance import compact; compact()\n"
    )
    with maintenance():
        done = subprocess.run(
            [sys.executable, "-c", script, name], check=False, capture_output=True, text=True, timeout=60
        )
    assert "Overloaded" in done.stderr
    assert (
        subprocess.run([sys.executable, "-c", script, name], check=False, capture_output=True, timeout=60).returncode
        == 0
    )
