"""The making of the files: once each, again after a crash, and never half."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now as utc_now

from opssentinal.apikeys.models import APIKey
from opssentinal.back import _Exports
from opssentinal.errors import Conflict, IntegrityError, NotFound, Unavailable
from opssentinal.events.model import Context
from opssentinal.exports import jobs, services
from opssentinal.exports.models import Export
from opssentinal.query import Filter
from opssentinal.search.answers import Exported
from opssentinal.search.client import search
from opssentinal.search.duckdb import exporting
from opssentinal.workspace.models import User
from tests.exports.conftest import ADMIN, ALICE, Back, downloads, events, make_files, record_events
from tests.workspace.conftest import unwritable


def ask() -> Export:
    return services.create_export(ALICE, Context(), ADMIN, Filter(), "csv")


def test_oldest_first_and_each_once(back: Back) -> None:
    """Several threads that look at the queue at once make each export once."""
    record_events(events(10))
    asked = [ask() for _ in range(8)]
    made: list[int] = []

    def work() -> None:
        try:
            made.append(make_files())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(made) == 8
    assert {export.status for export in Export.objects.all()} == {"ready"}
    assert len(downloads()) == len(asked)


def test_an_interrupted_export_is_made_again(back: Back) -> None:
    """The back that was killed in the middle left a row running and half a file: the next one makes it whole."""
    record_events(events(10))
    asked = ask()
    Export.objects.update(status="running", attempts=1, rows_done=3)
    partial = asked.path.with_name(asked.path.name + ".1.partial")
    partial.write_bytes(b"half")
    assert jobs.requeue_interrupted() == 1
    assert not partial.exists()
    assert make_files() == 1
    asked.refresh_from_db()
    assert (asked.status, asked.rows) == ("ready", 10)
    assert len(downloads()) == 1


def test_what_another_server_makes_is_left_alone(back: Back) -> None:
    """On one database each server makes its own exports: it neither takes over those of another nor hides where they lie."""
    record_events(events(3))
    theirs, running = ask(), ask()
    Export.objects.update(server="another")
    Export.objects.filter(pk=running.pk).update(status="running", attempts=1)
    ours = ask()
    assert jobs.requeue_interrupted() == 0
    while ours.is_open:
        jobs.run_queued_exports()  # waits for search to reach the export's head
        ours.refresh_from_db()
    assert {export.pk: export.status for export in Export.objects.all()} == {
        theirs.pk: "queued",
        running.pk: "running",
        ours.pk: "ready",
    }
    Export.objects.filter(pk=theirs.pk).update(status="ready")
    with pytest.raises(NotFound, match="another server"):
        services.open_export(ADMIN, theirs.public_id, ALICE, Context())


def test_an_export_that_kills_the_server_is_given_up(back: Back) -> None:
    """After three interrupted attempts it has failed, says why, and is recorded as a failure."""
    asked = ask()
    Export.objects.update(status="running", attempts=jobs.ATTEMPTS_MAX)
    assert jobs.requeue_interrupted() == 0
    asked.refresh_from_db()
    assert asked.status == "failed"
    assert "in 3 attempts" in asked.error
    (event,) = downloads()
    assert (event.outcome, event.metadata["stage"]) == ("failure", "created")


def test_a_full_disk_fails_the_export(back: Back) -> None:
    """The reason stands in the row and in the event, and no file is left."""
    asked = ask()
    partial = asked.path.with_name(asked.path.name + ".1.partial")
    partial.symlink_to("/dev/full")  # every write: no space left on device
    assert make_files() == 1
    asked.refresh_from_db()
    assert asked.status == "failed"
    assert asked.error == "The file cannot be written: No space left on device."
    assert list(asked.path.parent.iterdir()) == []
    (event,) = downloads()
    assert (event.outcome, event.metadata["reason"]) == ("failure", asked.error)


UNWRITTEN = [("ledger_bundle",), ("exports_export", "UPDATE OF finished_at")]


@pytest.mark.parametrize("unwritten", UNWRITTEN, ids=["log", "row"])
@pytest.mark.parametrize("end", ["ready", "failed", "cancelled"])
def test_an_export_ends_only_together_with_its_record(back: Back, end: str, unwritten: tuple[str, ...]) -> None:
    """Where either cannot be written there is neither; the next look into the queue writes both, and makes nothing again."""
    record_events(events(5))
    asked = ask()
    if end == "failed":
        asked.path.with_name(asked.path.name + ".1.partial").symlink_to("/dev/full")
    if end == "cancelled":
        User.objects.filter(pk=1).update(is_active=False)
    with unwritable(*unwritten), pytest.raises(DatabaseError):
        make_files()
    asked.refresh_from_db()
    assert asked.is_open
    assert downloads() == []
    assert make_files() == 1
    asked.refresh_from_db()
    assert (asked.status, asked.attempts) == (end, 1)
    assert asked.path.exists() == (end == "ready")
    (event,) = downloads()
    assert event.outcome == ("success" if end == "ready" else "failure")


def test_an_export_ends_once_the_ledger_is_restored(back: Back) -> None:
    """A ledger whose parts disagree takes no record: the export stays open until it does, and is not made again."""
    record_events(events(5))
    asked = ask()
    while search().status().position < asked.head:
        time.sleep(0.01)
    export = jobs._claim(Export.objects.all())
    assert export is not None
    with miscounted(), pytest.raises(IntegrityError):
        jobs._make(export, None, utc_now)
    asked.refresh_from_db()
    assert asked.is_open
    assert make_files() == 1
    asked.refresh_from_db()
    assert (asked.status, asked.attempts, len(downloads())) == ("ready", 1, 1)


def test_an_export_whose_end_was_recorded_without_an_answer_stays(back: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database commits that it is ready, and the answer is lost on the way: the next look takes nothing back."""
    record_events(events(5))
    asked = ask()
    commit, lost = BaseDatabaseWrapper._commit, []

    def commit_in_vain(self: BaseDatabaseWrapper) -> None:
        is_ready = not lost and Export.objects.filter(status="ready").exists()
        commit(self)
        if is_ready:
            lost.append(True)
            raise OperationalError("the connection was closed")

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", commit_in_vain)
    with pytest.raises(DatabaseError):
        make_files()
    assert jobs.run_queued_exports() == 1
    file = services.open_export(ADMIN, asked.public_id, ALICE, Context())[1]
    file.close()
    assert [event.metadata["stage"] for event in downloads()] == ["created", "fetched"]


def test_nothing_waits_for_what_a_back_before_left_behind(back: Back) -> None:
    """A disk on which not even that can be written keeps exports waiting, not search; then they go on by themselves."""
    record_events(events(5))
    asked, task = ask(), _Exports()
    Export.objects.update(status="running", attempts=1)
    with unwritable("exports_export"), pytest.raises(DatabaseError):
        task(threading.Event())
    while asked.is_open:
        task(threading.Event())
        asked.refresh_from_db()
    assert (asked.status, asked.attempts) == ("ready", 2)


@contextmanager
def miscounted() -> Iterator[None]:
    """The bundles say another number of events than the head, which whoever appends compares."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_bundle SET count = count + 1")
        yield
        cursor.execute("UPDATE ledger_bundle SET count = count - 1")


@pytest.mark.parametrize("unwritten", UNWRITTEN, ids=["log", "row"])
def test_an_export_is_cancelled_only_together_with_its_record(back: Back, unwritten: tuple[str, ...]) -> None:
    """Where either cannot be written it goes on waiting."""
    asked = ask()
    with unwritable(*unwritten), pytest.raises(DatabaseError):
        services.cancel_export(ADMIN, asked.public_id, ALICE, Context())
    asked.refresh_from_db()
    assert (asked.status, downloads()) == ("queued", [])
    services.cancel_export(ADMIN, asked.public_id, ALICE, Context())
    assert len(downloads()) == 1


def test_a_cancelled_export_stops_and_leaves_no_file(back: Back) -> None:
    """Cancelled while it is made: the job notices at its next step, the file is dropped, one event tells of it."""
    asked = ask()
    export = jobs._claim(Export.objects.all())
    assert export is not None
    services.cancel_export(ADMIN, asked.public_id, ALICE, Context())
    jobs._make(export, None, utc_now)
    asked.refresh_from_db()
    assert asked.status == "cancelled"
    assert list(asked.path.parent.glob(asked.public_id + "*")) == []
    assert [event.metadata["reason"] for event in downloads()] == ["cancelled"]


def test_exports_wait_while_search_is_away(back: Back) -> None:
    """With no search service an export stays queued instead of failing, and is made when the service is back."""
    record_events(events(5))
    asked = ask()
    back.stop()
    assert jobs.run_queued_exports() == 0
    asked.refresh_from_db()
    assert asked.status == "queued"
    back.start()
    assert make_files() == 1
    asked.refresh_from_db()
    assert (asked.status, asked.rows) == ("ready", 5)


@pytest.mark.parametrize("times", [1, jobs.ATTEMPTS_MAX])
def test_an_export_whose_index_is_opened_again_is_made_anew(
    back: Back, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The index went away under it and is there again at once; but if that happens each time, it is not tried for ever."""
    record_events(events(5))
    asked = ask()
    write, left = exporting.export, iter(range(times))

    def lose_the_index(*args: Any) -> Exported:
        if next(left, None) is not None:
            in_thread(back._index.close)
            with pytest.raises(Unavailable) as told:
                for _ in range(2_000):
                    args[-1].check()
                    time.sleep(0.01)
            raise told.value
        return write(*args)

    monkeypatch.setattr(exporting, "export", lose_the_index)
    assert make_files() == 1
    asked.refresh_from_db()
    ended = ("ready", times + 1, 5) if times < jobs.ATTEMPTS_MAX else ("failed", times, None)
    assert (asked.status, asked.attempts, asked.rows) == ended


def test_an_export_that_cannot_even_be_put_back_is_put_back_later(back: Back) -> None:
    """Search goes away under it and the database takes nothing: it does not stay running until the next start."""
    record_events(events(5))
    asked = ask()
    export = jobs._claim(Export.objects.all())
    assert export is not None
    back.stop()
    with unwritable("exports_export", "UPDATE OF rows_done"), pytest.raises(DatabaseError):
        jobs._make(export, None, utc_now)
    back.start()
    make_files()
    asked.refresh_from_db()
    assert (asked.status, asked.attempts, asked.rows) == ("ready", 1, 5)


def test_a_stopping_back_takes_no_new_export(back: Back) -> None:
    """Once asked to stop, the rest of the queue is left for the next start."""
    ask()
    stop = threading.Event()
    stop.set()
    assert jobs.run_queued_exports(stop) == 0
    assert Export.objects.get().status == "queued"


def test_the_expiry_follows_the_setting(back: Back) -> None:
    """Files made after the setting changed live as long as it says."""
    from opssentinal.workspace.preferences import update_preferences

    update_preferences(ALICE, Context(), "cleanup", cleanup_exports_days=30)
    asked = ask()
    make_files()
    asked.refresh_from_db()
    assert asked.expires_at is not None
    assert asked.finished_at is not None
    assert asked.expires_at - asked.finished_at == timedelta(days=30)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_until(export: Export, condition: Callable[[Export], bool]) -> None:
    """Look at the row until it is so; a second thread is at work on it."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        export.refresh_from_db()
        if condition(export):
            return
    raise AssertionError(f"the export stays {export.status}")


@pytest.mark.parametrize("begun", ["running", "counted", "reported"])
def test_cancelling_at_any_moment(back: Back, monkeypatch: pytest.MonkeyPatch, begun: str) -> None:
    """Whoever cancels in the middle of the work is told that it was cancelled or that it had ended, and it is so."""
    monkeypatch.setattr(jobs, "REPORT_S", 0.0)
    record_events(events(20_000))
    asked = ask()
    working = in_thread(make_files)
    is_there: dict[str, Callable[[Export], bool]] = {
        "running": lambda export: export.status != "queued",
        "counted": lambda export: export.rows_total is not None,
        "reported": lambda export: export.rows_done > 0,
    }
    wait_until(asked, is_there[begun])
    try:
        services.cancel_export(ADMIN, asked.public_id, ALICE, Context())
        expected = "cancelled"
    except Conflict:
        expected = "ready"
    working.join(60)
    asked.refresh_from_db()
    assert asked.status == expected
    back.stop()  # the engine cleans up after a withdrawn export by itself, a moment later
    assert list(asked.path.parent.iterdir()) == ([asked.path] if expected == "ready" else [])
    assert [event.outcome for event in downloads()] == ["success" if expected == "ready" else "failure"]


def test_a_back_that_stops_in_the_middle_puts_the_export_back(back: Back) -> None:
    """The export in hand is whole or waits for the next start, without counting as an attempt that failed."""
    record_events(events(20_000))
    asked = ask()
    stop = threading.Event()
    working = in_thread(lambda: make_files(stop))
    wait_until(asked, lambda export: export.status != "queued")
    stop.set()
    working.join(60)
    asked.refresh_from_db()
    assert asked.status in ("queued", "ready")
    assert asked.attempts == (asked.status == "ready")
    make_files()
    asked.refresh_from_db()
    assert (asked.status, asked.rows) == ("ready", 20_000)
    assert len(downloads()) == 1


def test_no_file_without_all_of_its_events(back: Back) -> None:
    """An index that does not reach the head of the export refuses to make the file, rather than a part of it."""
    record_events(events(5))
    asked = ask()
    with pytest.raises(Unavailable) as refused:
        search().export(Filter(), asked.head + 1, "csv", asked.path)
    assert refused.value.code == "rebuilding"
    assert not asked.path.exists()


@pytest.mark.parametrize(
    "ended", [{"is_active": False}, {"role": "member"}, {"expires_at": utc_now()}], ids=["off", "demoted", "expired"]
)
def test_nothing_is_made_for_an_account_that_has_ended(back: Back, ended: dict[str, object]) -> None:
    """Who may no longer read the log when the export's turn comes gets none, and the log says why."""
    record_events(events(3))
    asked = ask()
    User.objects.filter(pk=1).update(**ended)
    assert make_files() == 1
    asked.refresh_from_db()
    assert (asked.status, asked.path.exists()) == ("cancelled", False)
    [told] = downloads()
    assert (told.outcome, told.metadata["reason"]) == ("failure", "account_ended")


@pytest.mark.parametrize(
    "ended",
    [{"revoked_at": utc_now()}, {"expires_at": utc_now()}, {"scopes": ["exports:read"]}],
    ids=["revoked", "expired", "without the scope"],
)
def test_nothing_is_made_for_a_key_that_has_ended(back: Back, ended: dict[str, object]) -> None:
    """Nor for a program whose key may not export any more; the export of another key is made as ever."""
    record_events(events(3))
    theirs = services.create_export(ALICE, Context(), services.Principal("api_key", "keyA"), Filter(), "csv")
    other = services.create_export(ALICE, Context(), services.Principal("api_key", "keyB"), Filter(), "csv")
    APIKey.objects.filter(public_id="keyA").update(**ended)
    assert make_files() == 2
    assert {export.pk: export.status for export in Export.objects.all()} == {theirs.pk: "cancelled", other.pk: "ready"}
    assert {event.metadata.get("reason") for event in downloads()} == {None, "account_ended"}
