"""The audit retention: what goes, what stays, and what the log says about it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection

from opssentinal.errors import NotFound, Unavailable
from opssentinal.events.model import Actor, Context, RecordedEvent, to_us
from opssentinal.ledger import held, pruning, reader
from opssentinal.ledger.pruning import prune
from opssentinal.query import parse
from opssentinal.retention import jobs, policy
from opssentinal.retention.models import RetentionRun
from opssentinal.workspace.preferences import update_preferences
from tests.retention.conftest import NOON, days_ago, record_events
from tests.workspace.conftest import unwritable

Check = Callable[[], None]
ALICE = Actor(type="user", id="user_1", name="Alice")


def keep(days: int | None) -> None:
    update_preferences(ALICE, Context(), "data_retention", audit_retention_days=days)


def recorded(action: str) -> list[RecordedEvent]:
    return [event for event in reader.newest(1000) if event.action == action]


def test_what_was_recorded_before_the_retention_goes(ledger: Check) -> None:
    """By default events recorded over 365 days ago lose their text, the tree still verifies, and the log says so."""
    record_events(512, days_ago(366))
    record_events(300, days_ago(364))
    run = jobs.prune_if_due(NOON)
    assert run is not None
    assert (run.events, run.minimum_index, run.error) == (512, 512, "")
    with pytest.raises(NotFound):
        reader.read_event(511)
    assert reader.read_event(512).actor is not None
    (event,) = recorded("retention.pruned")
    assert event.outcome == "success"
    assert event.metadata == {"events": 512, "minimum_index": 512, "retention_days": 365}
    assert event.targets[0].name == "512 events"
    ledger()


def test_it_counts_from_recorded_at(ledger: Check) -> None:
    """An old event imported yesterday stays; one that claims to be of tomorrow but was recorded long ago goes."""
    record_events(256, days_ago(400), occurred_at=NOON + timedelta(days=1))
    record_events(256, days_ago(1), occurred_at=days_ago(4000))
    run = jobs.prune_if_due(NOON)
    assert run is not None
    assert run.minimum_index == 256
    assert reader.read_event(256).occurred_at == days_ago(4000)


def test_for_ever_removes_nothing(ledger: Check) -> None:
    """Without an end to the retention there is no nightly run, and one asked for by hand removes nothing."""
    record_events(256, days_ago(30_000))
    keep(None)
    assert jobs.next_prune(NOON) is None
    assert jobs.prune_if_due(NOON) is None
    assert jobs.run_prune(ALICE, now=NOON).events == 0
    assert reader.head().minimum_index == 0


def test_once_a_night(ledger: Check) -> None:
    """A second look in the same night does nothing; the next night it runs again; an idle run records no event."""
    first = jobs.prune_if_due(NOON)
    assert first is not None
    assert jobs.prune_if_due(NOON + timedelta(hours=10)) is None
    assert jobs.prune_if_due(NOON + timedelta(hours=15)) is not None
    assert recorded("retention.pruned") == []
    assert RetentionRun.objects.count() == 2


def test_what_a_stopped_run_removed_is_recorded_by_the_next(ledger: Check) -> None:
    """A process killed between pruning and its record: the next run's event counts those events, each exactly once."""
    record_events(512, days_ago(500))
    prune(to_us(policy.cutoff(NOON, 365)))  # as far as the killed process came
    RetentionRun.objects.create(kind="audit", started_at=NOON - timedelta(hours=2), retention_days=365)
    assert jobs.run_prune(ALICE, now=NOON).events == 512
    assert jobs.run_prune(ALICE, now=NOON).events == 0
    assert [event.metadata["events"] for event in recorded("retention.pruned")] == [0, 512]


@pytest.mark.parametrize("table", ["ledger_bundle", "retention_retentionrun"])
def test_a_run_is_accounted_for_only_together_with_its_record(ledger: Check, table: str) -> None:
    """Where either cannot be written once the text is gone, the run is not finished; the next one records what went."""
    record_events(512, days_ago(500))
    with ExitStack() as broken, pytest.raises(DatabaseError):
        jobs.run_prune(ALICE, now=NOON, progress=lambda _: broken.enter_context(unwritable(table)))
    assert reader.head().minimum_index == 512
    assert recorded("retention.pruned") == []
    assert RetentionRun.objects.get().finished_at is None
    assert jobs.run_prune(ALICE, now=NOON).events == 512
    assert [event.metadata["events"] for event in recorded("retention.pruned")] == [512]
    ledger()


def test_a_failed_run_shows_its_error_and_records_what_went(ledger: Check) -> None:
    """A damaged bundle stops the run: the error stands in its row, what went before it is recorded as a failure."""
    record_events(2048, days_ago(500))
    record_events(2048, days_ago(490))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_bundle SET heads = %s WHERE first_seq = 2048", [b"not zstd"])
    run = jobs.prune_if_due(NOON)
    assert run is not None
    assert "decompressed" in run.error
    assert run.events == 2048
    assert not run.succeeded
    event = reader.read_event(reader.head().size - 1)
    assert (event.action, event.outcome, event.metadata["events"]) == ("retention.pruned", "failure", 2048)
    assert event.metadata["error"] == run.error
    assert jobs.next_prune(NOON) == NOON + policy.RETRY_AFTER


def test_the_command_prunes_and_names_the_person_at_the_terminal(ledger: Check) -> None:
    """`prune --json` says what it did, and the actor of its event is the operating system's user."""
    record_events(256, days_ago(4_000))
    shown = io.StringIO()
    call_command("prune", "--dry-run", "--json", stdout=shown)
    dry = json.loads(shown.getvalue())
    assert (dry["dry_run"], dry["events"], reader.head().minimum_index) == (True, 256, 0)
    assert dry["oldest"] == days_ago(4_000).isoformat()
    shown = io.StringIO()
    call_command("prune", "--json", stdout=shown)
    assert json.loads(shown.getvalue())["events"] == 256
    (event,) = recorded("retention.pruned")
    assert event.actor is not None
    assert event.actor.type == "os_user"


def test_the_command_says_it_in_words(ledger: Check) -> None:
    """Without --json it is a sentence with the retention in force. That somebody ran it is recorded, also for nothing."""
    shown = io.StringIO()
    call_command("prune", stdout=shown)
    assert shown.getvalue() == "Audit events are kept for 1 year: the text of 0 events removed.\n"
    (event,) = recorded("retention.pruned")
    assert event.actor is not None
    assert (event.actor.type, event.metadata["events"]) == ("os_user", 0)


def test_the_command_fails_loudly(ledger: Check) -> None:
    """A run that failed ends the command with an error, after its row has been written."""
    record_events(256, days_ago(4_000))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_bundle SET heads = %s", [b"not zstd"])
    with pytest.raises(Unavailable, match="Pruning failed"):
        call_command("prune", stdout=io.StringIO())
    run = RetentionRun.objects.get()
    assert run.error


@pytest.mark.parametrize(("longer", "left_from"), [(None, 8_192), (500, 8_448)])
def test_a_retention_lengthened_while_it_runs_counts(ledger: Check, longer: int | None, left_from: int) -> None:
    """What the longer one keeps and is still there stays; “for ever” ends the run, and nothing fails."""
    for number in range(33):
        record_events(256, days_ago(600 - number))
    record_events(1024, days_ago(400))

    def lengthen(done: int) -> None:
        if done == 8_192:
            keep(longer)

    run = jobs.run_prune(ALICE, now=NOON, progress=lengthen)
    assert (run.error, run.minimum_index, run.events) == ("", left_from, left_from)
    assert reader.read_event(left_from).actor is not None
    ledger()


def test_a_retention_lengthened_just_before_a_portion_counts(ledger: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read, compared and about to go: asked again under the lock, the longer retention keeps it."""
    record_events(512, days_ago(400))
    parted = pruning._parted

    def slowly(*given: Any) -> Any:
        keep(None)
        return parted(*given)

    monkeypatch.setattr(pruning, "_parted", slowly)
    assert jobs.run_prune(ALICE, now=NOON).events == 0
    assert reader.head().minimum_index == 0


def test_a_retention_lengthened_while_it_lets_go_counts(ledger: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that a released hold had kept stay too, if the retention covers them when their turn comes."""
    record_events(256, days_ago(400))
    prune(to_us(policy.cutoff(NOON, 365)), holds=lambda: (parse("action:*"),))
    kept = held.totals().events
    assert kept == 256
    in_range = held.in_range

    def slowly(*given: Any) -> Any:
        rows = in_range(*given)
        monkeypatch.setattr(held, "in_range", in_range)
        keep(None)
        return rows

    monkeypatch.setattr(held, "in_range", slowly)
    assert jobs.run_prune(ALICE, now=NOON).error == ""
    assert held.totals().events == kept
