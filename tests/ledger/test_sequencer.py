"""The sequencer: order, bounds, and never an acknowledgement that is not true."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.backends.postgresql.base import DatabaseWrapper

from opssentinal.errors import IntegrityError, Overloaded, Unavailable
from opssentinal.ledger.reader import bundles_after, head, read_event
from opssentinal.ledger.recording import recording
from opssentinal.ledger.sequencer import Sequencer
from tests.ledger.conftest import make_event, uuid

Check = Callable[[], None]


@pytest.fixture
def sequencer(ledger: Check) -> Iterator[Sequencer]:
    running = Sequencer(1000)
    running.start()
    yield running
    running.stop()


def test_each_submission_gets_its_receipts(sequencer: Sequencer, ledger: Check) -> None:
    """Submissions from many threads are all recorded, and each receipt leads to its event."""
    found: list[tuple[int, int]] = []

    def submit(worker: int) -> None:
        for n in range(20):
            number = worker * 100 + n
            receipts = sequencer.submit([make_event(number), make_event(number, id=uuid(number))]).result(30)
            found.extend((number, receipt.seq) for receipt in receipts)

    threads = [threading.Thread(target=submit, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert head().size == 320
    assert all(read_event(seq).metadata["number"] == number for number, seq in found)
    ledger()


def test_an_event_that_cannot_be_encoded_ends_nothing(sequencer: Sequencer, ledger: Check) -> None:
    """Whoever submits what no decoder let through is refused; everybody after goes on."""
    with pytest.raises(Unavailable):
        sequencer.submit([make_event(1, metadata={"no": object()})]).result(30)
    assert sequencer.submit([make_event(2)]).result(30)[0].seq == 0
    assert sequencer.health().damage is None
    ledger()


def test_stop_writes_what_waits(ledger: Check) -> None:
    """What was submitted before the stop is recorded; what comes after is refused."""
    sequencer = Sequencer(1000)
    futures = [sequencer.submit([make_event(n)]) for n in range(100)]
    sequencer.start()
    sequencer.stop()
    assert [future.result(0)[0].seq for future in futures] == list(range(100))
    with pytest.raises(Overloaded):
        sequencer.submit([make_event(1)])
    ledger()


def test_a_full_queue_refuses(ledger: Check) -> None:
    """More than the queue may hold is refused at once with a time to come back, and nothing of it is kept."""
    sequencer = Sequencer(10)
    first = sequencer.submit([make_event(n) for n in range(8)])
    with pytest.raises(Overloaded) as refusal:
        sequencer.submit([make_event(n) for n in range(3)])
    assert refusal.value.retry_after_s >= 1
    sequencer.start()
    assert len(first.result(30)) == 8
    sequencer.stop()
    assert head().size == 8


def test_each_refusal_after_damage_is_an_error_of_its_own(ledger: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is raised again and again would keep every request that it has passed through."""
    sequencer = Sequencer()
    sequencer.start()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_head SET root = %s", [b"x" * 32])
    with pytest.raises(IntegrityError) as found:
        sequencer.submit([make_event(1)]).result(30)
    for _ in range(3):
        with pytest.raises(IntegrityError) as refusal:
            sequencer.submit([make_event(2)])
        assert (str(refusal.value), refusal.value.hint) == (str(found.value), found.value.hint)
        assert len(refusal.traceback) < 5
    sequencer.stop()


def test_a_broken_table_is_unavailable_and_heals(sequencer: Sequencer, ledger: Check) -> None:
    """While the ledger cannot be written callers are told so; afterwards everything works again."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_bundle RENAME TO away")
    with pytest.raises(Unavailable):
        sequencer.submit([make_event(1)]).result(30)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE away RENAME TO ledger_bundle")
    assert sequencer.submit([make_event(2)]).result(30)[0].seq == 0
    ledger()


def test_damage_stops_it_for_good(sequencer: Sequencer) -> None:
    """After a head that does not hash to its root nothing is appended any more."""
    sequencer.submit([make_event(1)]).result(30)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_head SET size = 2")
    with pytest.raises(IntegrityError):
        sequencer.submit([make_event(2)]).result(30)
    with pytest.raises(IntegrityError):
        sequencer.submit([make_event(3)])


def test_pages_get_their_turn_beside_a_busy_sequencer(sequencer: Sequencer, ledger: Check) -> None:
    """Recordings from pages are committed in between, in one order with the sequencer's."""
    stop = threading.Event()
    submitted = []

    def load() -> None:
        while not stop.is_set() and len(submitted) < 400:
            submitted.append(sequencer.submit([make_event(n) for n in range(50)]))
            submitted[-1].result(30)

    thread = threading.Thread(target=load)
    thread.start()
    for n in range(20):
        with recording() as record:
            record(make_event(1000 + n))
    stop.set()
    thread.join()
    assert head().size == 50 * len(submitted) + 20
    order = [e.metadata["number"] for b in bundles_after(0, 10**6) for e in b.events() if e.metadata["number"] >= 1000]
    assert order == list(range(1000, 1020))
    ledger()


def test_a_lost_answer_is_read_back(ledger: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is lost while the database is still at work on COMMIT: the caller learns what became of it."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite's commit ends with the call")
    original, cut = DatabaseWrapper._commit, []

    def lose_the_answer(self: Any) -> None:
        if threading.current_thread().name != "sequencer" or cut:
            original(self)
            return
        raw, self.connection = self.connection, None
        cut.append(threading.Timer(0.5, lambda: (raw.commit(), raw.close())))
        cut[0].start()
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(DatabaseWrapper, "_commit", lose_the_answer)
    sequencer = Sequencer()
    sequencer.start()
    receipts = sequencer.submit([make_event(1), make_event(2)]).result(30)
    assert [receipt.seq for receipt in receipts] == [0, 1]
    assert sequencer.submit([make_event(3)]).result(30)[0].seq == 2
    sequencer.stop()
    cut[0].join()
    ledger()


def test_health_tells_damage(sequencer: Sequencer) -> None:
    """What a supervisor asks: it runs, and when it has stopped for good, why."""
    assert sequencer.health() == (True, 0, None, None)
    sequencer.submit([make_event(1)]).result(30)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_head SET size = 2")
    with pytest.raises(IntegrityError):
        sequencer.submit([make_event(2)]).result(30)
    assert "entries" in str(sequencer.health().damage)
