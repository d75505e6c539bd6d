"""Legal holds: placing, releasing, and that the nightly run obeys them."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test import Client

from opssentinal.approvals import services as approvals
from opssentinal.approvals.models import Approval
from opssentinal.errors import Conflict, NotFound, OpsSentinalError
from opssentinal.events.model import Actor, Context, RecordedEvent, to_us
from opssentinal.ledger import held, pruning, reader
from opssentinal.query import Filter, parse
from opssentinal.retention import changes, holds, jobs, policy
from opssentinal.retention.models import LegalHold, ScheduledChange
from opssentinal.retention.scheduling import Result
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import update_preferences
from opssentinal.workspace.principals import user_actor
from tests.retention.conftest import NOON, days_ago, make_admin, record_events
from tests.workspace.conftest import away

Check = Callable[[], None]
PAGE = "/settings/data-retention/holds/"
MALLORY = Actor(type="user", id="usr_mallory", name="Mallory")
DAY = timedelta(days=1)
HELD = [0, 1, 2, 3, 4]


def fill() -> None:
    """Five events of Mallory's and 507 of others, all past a year."""
    record_events(5, days_ago(400), actor=MALLORY)
    record_events(507, days_ago(399))


def place(user: User, query: str = "actor:usr_mallory", name: str = "Case 1") -> LegalHold:
    return holds.place(user, Context(), name=name, reason="A court asked", filter=parse(query), now=NOON)


def release(user: User, hold: LegalHold) -> None:
    """Release it, with its cool-down over."""
    assert holds.release(hold.pk, user, Context(), now=NOON - DAY) is Result.SCHEDULED
    assert changes.apply_due(NOON) == 1


def recorded(*actions: str) -> list[RecordedEvent]:
    """What the log says, oldest first."""
    return [event for event in reversed(reader.newest(1000)) if event.action in actions]


def readable() -> list[int]:
    """The seqs below the minimum index that can be read."""
    return sorted(reader.read_events(range(reader.head().minimum_index)))


def test_the_nightly_run_keeps_what_is_held(admin: User, ledger: Check) -> None:
    """Others go, the run and its event count only what went; fsck and the tree stay whole."""
    fill()
    hold = place(admin)
    run = jobs.prune_if_due(NOON)
    assert run is not None
    assert (run.error, run.minimum_index, run.events, run.held) == ("", 512, 507, 5)
    assert readable() == HELD
    (pruned,) = recorded("retention.pruned")
    assert pruned.metadata == {"events": 507, "minimum_index": 512, "retention_days": 365, "held": 5}
    (placed,) = recorded("legal_hold.placed")
    assert placed.actor == user_actor(admin)
    assert placed.metadata == {"query": "actor:usr_mallory", "reason": "A court asked"}
    assert placed.targets[0].id == f"hold_{hold.pk}"
    ledger()


def test_after_the_release_the_next_run_removes_them(admin: User, ledger: Check) -> None:
    """Not the release itself; and what another hold wants stays."""
    fill()
    first, second = place(admin), place(admin, "actor:usr_mallory before:2025-10-18T12:00:00.000001Z", "Case 2")
    jobs.prune_if_due(NOON)
    release(admin, first)
    assert readable() == HELD
    assert jobs.run_prune(user_actor(admin), now=NOON).events == 0
    assert readable() == HELD
    release(admin, second)
    run = jobs.run_prune(user_actor(admin), now=NOON)
    assert (run.events, run.held) == (5, 0)
    assert readable() == []
    assert sum(int(event.metadata["events"]) for event in recorded("retention.pruned")) == 512
    with pytest.raises(Conflict):
        holds.release(first.pk, admin, Context())
    with pytest.raises(NotFound):
        holds.release(10_000, admin, Context())
    ledger()


def test_what_is_held_is_meant_by_occurred_at(admin: User) -> None:
    """A hold over a time range takes the caller's clock, as queries do everywhere; retention takes the log's."""
    record_events(3, days_ago(400), occurred_at=days_ago(2000))
    record_events(509, days_ago(400))
    place(admin, f"before:{days_ago(1999):%Y-%m-%d}")
    jobs.prune_if_due(NOON)
    assert readable() == [0, 1, 2]


def test_a_relative_time_is_fixed_when_placing(admin: User) -> None:
    """`after:30d` means thirty days before the placing, for as long as the hold stands."""
    hold = place(admin, "actor:usr_mallory after:30d")
    assert Filter.from_json(LegalHold.objects.get().filter) == parse(hold.query)
    assert "30d" not in hold.query


def test_a_hold_placed_while_pruning_runs_wins(admin: User, ledger: Check) -> None:
    """Whatever was there when it was placed is there afterwards, whichever of the two came first."""
    for number in range(40):
        record_events(256, days_ago(4000 - number), actor=MALLORY)
    began, placed_at = threading.Event(), []

    def prune() -> None:
        try:
            pruning.prune(
                to_us(policy.cutoff(NOON, 365)), holds=holds.filters_in_force, progress=lambda done: began.set()
            )
        finally:
            began.set()
            connection.close()

    thread = threading.Thread(target=prune)
    thread.start()
    began.wait(30)
    place(admin)
    placed_at.append(reader.head().minimum_index)
    thread.join()
    there = range(placed_at[0], 40 * 256)
    assert sorted(reader.read_events(range(40 * 256)))[-len(there) :] == list(there)
    assert reader.head().minimum_index == 40 * 256
    ledger()


def test_a_hold_that_cannot_be_understood_stops_pruning(admin: User) -> None:
    """As after going back to an older version: nothing is removed, and the run says why."""
    fill()
    place(admin)
    LegalHold.objects.update(filter='{"terms":[{"field":"newer","values":["x"]}]}')
    run = jobs.prune_if_due(NOON)
    assert run is not None
    assert "newer" in run.error
    assert run.events == reader.head().minimum_index == 0


def test_two_admins_release_together(admin: User, carol: User, ledger: Check) -> None:
    """The release waits for the other admin; then it is that of who asked, with the id of who approved."""
    hold = place(admin)
    assert holds.release(hold.pk, carol, Context(), now=NOON) is Result.ASKED
    assert holds.filters_in_force() == (parse("actor:usr_mallory"),)
    with pytest.raises(Conflict, match="waits for approval already"):
        holds.release(hold.pk, admin, Context(), now=NOON)
    approvals.grant(Approval.objects.get().pk, admin, Context(), now=NOON)
    assert changes.apply_due(NOON + DAY - timedelta(seconds=1)) == 0
    assert len(holds.filters_in_force()) == 1
    assert changes.apply_due(NOON + DAY) == 1
    assert holds.filters_in_force() == ()
    (released,) = recorded("legal_hold.released")
    assert released.actor == user_actor(carol)
    assert released.metadata["approved_by"] == f"user_{admin.pk}"
    ledger()


def test_a_release_waits_and_is_cancelled(admin: User, ledger: Check) -> None:
    """Also of who is alone: the hold goes on holding until the cool-down is over, and any admin keeps it for good."""
    fill()
    hold = place(admin)
    assert holds.release(hold.pk, admin, Context(), now=NOON) is Result.SCHEDULED
    with pytest.raises(Conflict, match="will be released"):
        holds.release(hold.pk, admin, Context(), now=NOON)
    jobs.prune_if_due(NOON + timedelta(hours=1))
    assert readable() == HELD
    changes.cancel(f"hold_{hold.pk}", user_actor(make_admin("Carol")), Context())
    assert changes.apply_due(NOON + 10 * DAY) == 0
    assert len(holds.in_force()) == 1
    scheduled, cancelled = recorded("retention.change_scheduled", "retention.change_cancelled")
    assert scheduled.targets == cancelled.targets
    assert (scheduled.targets[0].id, scheduled.targets[0].name) == (f"hold_{hold.pk}", "Case 1")
    assert scheduled.metadata["takes_effect_at"] == "2026-11-23T12:00:00Z"
    ledger()


def test_without_a_cooldown_a_hold_is_released_at_once(admin: User) -> None:
    """As it says: 0 hours are no time at all."""
    update_preferences(user_actor(admin), Context(), "data_retention", retention_cooldown_hours=0)
    assert holds.release(place(admin).pk, admin, Context()) is Result.IN_FORCE
    assert holds.in_force() == []
    assert len(recorded("legal_hold.released")) == 1


def test_a_hold_and_its_record_stand_or_fall_together(admin: User) -> None:
    """Neither a hold nor a release without its event, and no event without it."""
    with away("ledger_head"), pytest.raises((DatabaseError, OpsSentinalError)):
        place(admin)
    assert not LegalHold.objects.exists()
    with away("retention_legalhold"), pytest.raises(DatabaseError):
        place(admin)
    hold = place(admin)
    with away("ledger_head"), pytest.raises((DatabaseError, OpsSentinalError)):
        holds.release(hold.pk, admin, Context())
    assert len(holds.in_force()) == 1
    with away("retention_scheduledchange"), pytest.raises(DatabaseError):
        holds.release(hold.pk, admin, Context())
    assert recorded("retention.change_scheduled") == []
    holds.release(hold.pk, admin, Context(), now=NOON)
    with away("ledger_head"), pytest.raises((DatabaseError, OpsSentinalError)):
        changes.apply_due(NOON + DAY)
    with away("retention_legalhold"), pytest.raises(DatabaseError):
        changes.apply_due(NOON + DAY)
    assert ScheduledChange.objects.count() == 1
    assert len(holds.in_force()) == 1
    assert len(recorded("legal_hold.placed", "legal_hold.released")) == 1


def test_names_are_told_apart(admin: User) -> None:
    """Two holds in force never have one name; a released one's is free again."""
    hold = place(admin)
    with pytest.raises(Conflict, match="named"):
        place(admin, "actor:other")
    release(admin, hold)
    place(admin, "actor:other")


def test_what_a_killed_run_lifted_is_counted_right(admin: User) -> None:
    """Pruned but not accounted for, with some held: the next run counts what lost its text, no more."""
    fill()
    place(admin)
    pruning.prune(to_us(policy.cutoff(NOON, 365)), holds=holds.filters_in_force)  # killed before its record
    assert jobs.run_prune(user_actor(admin), now=NOON).events == 507
    assert jobs.run_prune(user_actor(admin), now=NOON).events == 0


def test_the_command_says_that_holds_are_not_subtracted(admin: User) -> None:
    """`prune --dry-run` counts without looking into events, and says so; `prune` then counts what went."""
    fill()
    place(admin)
    shown = io.StringIO()
    call_command("prune", "--dry-run", stdout=shown)
    assert shown.getvalue().endswith("512 events would be removed, less those under legal hold.\n")
    shown = io.StringIO()
    call_command("prune", "--json", stdout=shown)
    assert json.loads(shown.getvalue())["events"] == 507


def test_only_admins_see_and_change_holds(admin: User) -> None:
    """A member is refused everywhere."""
    hold = place(admin)
    client = Client()
    client.force_login(User.objects.create_user("bob@example.com", "correct horse battery"))
    for url in (PAGE, PAGE + "new/", f"{PAGE}{hold.pk}/release/"):
        assert client.get(url).status_code == 403
        assert client.post(url).status_code == 403
        assert Client().get(url).status_code == 302
    assert len(holds.in_force()) == 1


FORM = {"name": "Case 7", "query": "actor:usr_mallory", "reason": "A court asked"}


def test_placing_on_the_page(admin_client: Client) -> None:
    """First it counts and asks, here with search down, which must keep nobody from placing a hold; then it is listed."""
    answer = admin_client.post(PAGE + "new/", FORM)
    assert "Place the hold Case 7?" in answer.content.decode()
    assert "Search does not answer" in answer.content.decode()
    assert not LegalHold.objects.exists()
    answer = admin_client.post(PAGE + "new/", FORM | {"confirmed": "on"}, follow=True)
    text = answer.content.decode()
    assert "The hold Case 7 is placed." in text
    assert "A court asked" in text
    assert "Case 7" in admin_client.get("/settings/data-retention/").content.decode()
    assert admin_client.post(PAGE + "new/", FORM | {"confirmed": "on"}).status_code == 409


def test_days_are_those_of_the_workspaces_zone(admin_client: Client, admin: User) -> None:
    """A day begins at the workspace's midnight, as on Audit Logs; the page shows the instants, which mean the same anywhere."""
    update_preferences(user_actor(admin), Context(), "general", time_zone="Europe/Berlin")
    form = FORM | {"query": "actor:usr_mallory after:2026-01-01 before:2026-07-01"}
    text = admin_client.post(PAGE + "new/", form).content.decode()
    shown = "actor:usr_mallory after:2026-01-01T00:00:00+01:00 before:2026-07-01T00:00:00+02:00"
    assert f'name="query" value="{shown}"' in text
    update_preferences(user_actor(admin), Context(), "general", time_zone="Asia/Tokyo")  # before it is confirmed
    admin_client.post(PAGE + "new/", form | {"query": shown, "confirmed": "on"})
    hold = LegalHold.objects.get()
    assert Filter.from_json(hold.filter) == parse(shown)
    assert hold.query == "actor:usr_mallory after:2025-12-31T23:00:00Z before:2026-06-30T22:00:00Z"


def test_a_hold_over_a_day_is_told_with_its_hours(admin: User) -> None:
    """Where it is shown and in the log, no bare date stands, which readers elsewhere would take for another day."""
    assert place(admin, "after:2026-01-01").query == "after:2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"query": "actr:x"}, "Did you mean actor"),
        ({"query": ""}, "required"),
        ({"query": " "}, "required"),
        ({"query": "after:2026-01-01 before:2025-01-01"}, "time range"),
        ({"reason": ""}, "required"),
        ({"name": ""}, "required"),
    ],
)
def test_a_form_that_is_wrong_says_where(admin_client: Client, changed: dict[str, Any], said: str) -> None:
    """Nothing is placed."""
    answer = admin_client.post(PAGE + "new/", FORM | changed | {"confirmed": "on"})
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert not LegalHold.objects.exists()


def test_releasing_on_the_page(admin_client: Client, admin: User) -> None:
    """It asks, then schedules, which is shown and can be called off; with a second admin it asks that one."""
    first, second = place(admin), place(admin, "actor:other", "Case 2")
    text = admin_client.get(f"{PAGE}{first.pk}/release/").content.decode()
    assert "removes the text" in text
    assert "24 hours from now, and any admin can cancel it" in text
    answer = admin_client.post(f"{PAGE}{first.pk}/release/", follow=True).content.decode()
    assert "will be released after the cool-down" in answer
    assert "It will be released on" in answer
    assert "Release the legal hold Case 1" in admin_client.get("/settings/data-retention/").content.decode()
    change = ScheduledChange.objects.get()
    assert f"/settings/data-retention/changes/{change.pk}/cancel/" in answer
    admin_client.post(f"/settings/data-retention/changes/{change.pk}/cancel/")
    assert "It will be released on" not in admin_client.get(PAGE).content.decode()
    release(admin, first)
    make_admin("Carol")
    answer = admin_client.post(f"{PAGE}{second.pk}/release/", follow=True)
    assert "Another admin has to approve" in answer.content.decode()
    assert "that waits for approval" in answer.content.decode()
    assert len(holds.in_force()) == 1
    assert "has been released" in admin_client.get(f"{PAGE}{first.pk}/release/", follow=True).content.decode()
    assert admin_client.get(f"{PAGE}999/release/").status_code == 404


def test_held_events_are_counted_on_the_page(admin: User, admin_client: Client) -> None:
    """How many are kept past the retention; and the preview says that held ones are not subtracted."""
    fill()
    place(admin)
    assert "minus those under legal hold" in admin_client.get("/settings/data-retention/").content.decode()
    jobs.prune_if_due(NOON + timedelta(minutes=1))
    assert held.totals().events == 5
    assert (
        '<strong class="num">5</strong> events past the retention are kept' in admin_client.get(PAGE).content.decode()
    )
