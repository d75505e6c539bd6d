"""A clock that leaps ahead removes nothing: retention waits until it is back, or an admin says that it is right."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils.timezone import now as utc_now

from opssentinal.approvals.models import Approval
from opssentinal.back import TASKS
from opssentinal.errors import Conflict, Unavailable
from opssentinal.events.model import Actor, Context
from opssentinal.ledger import reader
from opssentinal.retention import changes, clock, jobs
from opssentinal.retention.models import LastLook, RetentionRun
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences, update_preferences
from tests.retention.conftest import NOON, record_events

Check = Callable[[], None]
ALICE = Actor(type="user", id="user_1", name="Alice")
PAGE = "/settings/data-retention/"
LEAP = timedelta(days=400)


def look_every(step: timedelta, start: datetime, end: datetime) -> int:
    """Let retention look as time passes; return how many runs it made."""
    runs = 0
    while start <= end:
        runs += jobs.prune_if_due(start) is not None
        start += step
    return runs


def test_a_leap_removes_nothing_and_its_end_is_noticed(ledger: Check, caplog: pytest.LogCaptureFixture) -> None:
    """400 days ahead, with events that carry the wrong time: no run, no event gone, said once; back again, all goes on."""
    record_events(512, NOON)
    assert jobs.prune_if_due(NOON) is not None
    caplog.clear()  # of a leap that the test before has left this process in
    record_events(512, NOON + LEAP)
    with caplog.at_level(logging.WARNING):
        for minutes in range(0, 60, 5):
            assert jobs.prune_if_due(NOON + LEAP + timedelta(minutes=minutes)) is None
        assert jobs.prune_if_due(NOON + timedelta(days=1)) is not None
    assert [record.message.partition(".")[0] for record in caplog.records] == [
        "Retention waits",
        "Retention goes on: the clock is believed again",
    ]
    assert reader.head().minimum_index == 0
    assert reader.read_event(0).actor is not None
    ledger()


def test_time_that_passes_prunes_as_ever(ledger: Check) -> None:
    """400 days on which the server was never off for more than a week: events go when they are past their retention."""
    record_events(512, NOON)
    assert look_every(timedelta(days=6), NOON, NOON + timedelta(days=365)) == 61
    assert reader.head().minimum_index == 0
    look_every(timedelta(days=6), NOON + timedelta(days=366), NOON + LEAP)
    assert reader.head().minimum_index == 512


@pytest.mark.parametrize(("off", "is_believed"), [(timedelta(days=7), True), (timedelta(days=7, seconds=1), False)])
def test_how_long_a_server_may_be_off(ledger: Check, off: timedelta, is_believed: bool) -> None:
    """A week is taken for a holiday; more, and somebody is asked."""
    jobs.prune_if_due(NOON)
    assert (jobs.prune_if_due(NOON + off) is not None) is is_believed
    assert (clock.leap(NOON + off) is None) is is_believed


def test_small_leaps_do_not_add_up(ledger: Check) -> None:
    """To and fro by six days: the clock is never believed further than once, counted from the time it came back to."""
    jobs.prune_if_due(NOON)
    for _ in range(10):
        assert clock.look(NOON + timedelta(days=6)) is None
        assert clock.look(NOON) is None
        assert clock.look(NOON + timedelta(days=8)) is not None
    assert LastLook.objects.get().at == NOON


def test_a_wrong_confirmation_ends_with_the_wrong_clock(ledger: Check) -> None:
    """Confirmed by mistake, then set right before anything ran: the same leap is asked about once more, and removes nothing."""
    record_events(512, NOON)
    jobs.prune_if_due(NOON)
    clock.confirm(NOON + LEAP, ALICE, Context(), NOON + LEAP)
    assert clock.leap(NOON + LEAP) is None
    jobs.prune_if_due(NOON + timedelta(minutes=5))
    assert jobs.prune_if_due(NOON + LEAP) is None
    assert jobs.run_prune(ALICE, now=NOON + LEAP).events == 0
    assert reader.head().minimum_index == 0
    ledger()


def test_a_clock_that_was_behind_asks_when_it_is_right_again(ledger: Check) -> None:
    """Behind for one look by less than a week, and nobody is asked; by more, and retention waits until somebody says so."""
    jobs.prune_if_due(NOON)
    jobs.prune_if_due(NOON - timedelta(days=7))
    assert clock.look(NOON) is None
    jobs.prune_if_due(NOON - LEAP)
    tomorrow = NOON + timedelta(days=1)
    assert jobs.prune_if_due(tomorrow) is None
    clock.confirm(tomorrow, ALICE, Context(), tomorrow)
    assert jobs.prune_if_due(tomorrow) is not None


def test_no_cooldown_ends_because_a_clock_was_behind(admin: User) -> None:
    """Asked for while the clock was 40 days behind: once it is right, the cool-down is not over at once."""
    jobs.prune_if_due(NOON)
    behind = NOON - timedelta(days=40)
    jobs.prune_if_due(behind)
    changes.choose(admin, Context(), changes.RETENTION, 30, now=behind)
    assert jobs.prune_if_due(NOON) is None
    assert preferences().audit_retention_days == 365


def test_two_servers_of_which_one_is_ahead(ledger: Check) -> None:
    """Ten days ahead it waits while the other one goes on; a confirmation there lasts until the other one looks."""
    record_events(512, NOON - timedelta(days=360))
    ahead = timedelta(days=10)
    for days in range(3):
        now = NOON + timedelta(days=days)
        assert jobs.prune_if_due(now) is not None
        assert jobs.prune_if_due(now + ahead) is None
    assert reader.head().minimum_index == 0
    now += timedelta(minutes=5)
    clock.confirm(now + ahead, ALICE, Context(), now + ahead)
    assert clock.look(now + ahead) is None
    assert clock.look(now) is None
    assert clock.look(now + ahead) is not None


def test_two_servers_a_little_apart(ledger: Check) -> None:
    """A minute between their clocks: both go on, and a leap of either is noticed."""
    for minutes in range(0, 60, 5):
        for apart in (timedelta(minutes=1), timedelta(0)):
            assert clock.look(NOON + timedelta(minutes=minutes) + apart) is None
    assert clock.look(NOON + timedelta(hours=1) + LEAP) is not None


@pytest.fixture
def upgraded(ledger: Check) -> None:
    """A log with old events whose retention last ran at NOON, by a version that kept no look."""
    record_events(512, NOON)
    jobs.prune_if_due(NOON)
    jobs.cleanup_if_due(NOON)
    LastLook.objects.all().delete()


def test_an_upgrade_by_a_wrong_clock(upgraded: None, ledger: Check) -> None:
    """The first look ever is 400 days ahead: the last run tells, nothing goes, and no run that was refused counts as one."""
    ahead = NOON + LEAP
    assert clock.leap(ahead) == clock.Leap(NOON, ahead)
    assert jobs.cleanup_if_due(ahead) is None
    assert jobs.run_cleanup(now=ahead).counts == {}
    assert jobs.run_prune(ALICE, now=ahead).events == 0
    assert jobs.prune_if_due(ahead) is None
    LastLook.objects.all().delete()
    assert clock.look(ahead) == clock.Leap(NOON, ahead)
    assert reader.head().minimum_index == 0
    assert jobs.prune_if_due(NOON + timedelta(days=1)) is not None
    ledger()


def test_the_first_look_is_confirmed(upgraded: None, ledger: Check) -> None:
    """Switched off for 400 days before the upgrade: an admin says so, even before retention has looked, and it goes on."""
    back_on = NOON + LEAP
    clock.confirm(back_on, ALICE, Context(), back_on)
    event = reader.newest(1)[0]
    assert (event.action, event.metadata["last_look"]) == ("retention.clock_confirmed", "2026-11-22T12:00:00Z")
    with pytest.raises(Conflict, match="believed already"):
        clock.confirm(back_on, ALICE, Context(), back_on)
    run = jobs.prune_if_due(back_on)
    assert run is not None
    assert run.events == 512
    ledger()


def test_an_upgrade_after_a_clock_that_was_ahead(upgraded: None) -> None:
    """The last run was of a wrong clock that is right again: nobody is asked, and from then on the right one counts."""
    assert jobs.prune_if_due(NOON - LEAP) is not None
    assert clock.look(NOON) is not None


def test_a_new_log_asks_nobody(admin_client: Client) -> None:
    """Without a look and without a run, the clock is believed, on pages and by the first run; what is refused changes nothing."""
    assert "clock right" not in admin_client.get(PAGE).content.decode()
    with pytest.raises(Conflict, match="nothing to confirm"):
        clock.confirm(utc_now(), ALICE, Context(), utc_now())
    assert not LastLook.objects.exists()
    assert jobs.prune_if_due() is not None
    assert "clock right" not in admin_client.get(PAGE).content.decode()


def test_a_run_without_an_end_is_no_witness(ledger: Check) -> None:
    """What a killed process left says nothing of a clock that was believed; a leap from the run before it is found."""
    RetentionRun.objects.create(kind="cleanup", started_at=NOON, finished_at=NOON)
    RetentionRun.objects.create(kind="audit", started_at=NOON + LEAP)
    assert clock.look(NOON + LEAP) == clock.Leap(NOON, NOON + LEAP)


def test_a_run_in_the_future_does_not_put_off_the_next(ledger: Check) -> None:
    """Six days ahead it ran, by the clock; once the clock is back, the next night's run comes all the same."""
    for run in (jobs.prune_if_due, jobs.cleanup_if_due):
        assert run(NOON) is not None
        assert run(NOON + timedelta(days=6)) is not None
        assert run(NOON + timedelta(hours=1)) is None
        assert run(NOON + timedelta(days=1)) is not None


def test_nothing_scheduled_takes_effect_by_a_leap(admin: User) -> None:
    """A cool-down does not end because the clock leapt."""
    jobs.prune_if_due(NOON)
    changes.choose(admin, Context(), changes.RETENTION, 30, now=NOON)
    assert jobs.prune_if_due(NOON + LEAP) is None
    assert preferences().audit_retention_days == 365
    jobs.prune_if_due(NOON + timedelta(days=2))
    assert preferences().audit_retention_days == 30


def test_the_cleanup_waits_too(ledger: Check) -> None:
    """Sessions, files and closed incidents are not deleted by a clock that cannot be believed, by hand or by night."""
    jobs.prune_if_due(NOON)
    assert jobs.cleanup_if_due(NOON + LEAP) is None
    run = jobs.run_cleanup(now=NOON + LEAP)
    assert "The server's clock says" in run.error
    assert run.counts == {}


def test_the_command_refuses_until_the_clock_is_confirmed(ledger: Check) -> None:
    """`prune` says why and how to go on, and removes nothing; `--clock-is-right` is recorded and prunes."""
    record_events(512, utc_now() - LEAP)
    clock.look(utc_now() - LEAP)
    shown = io.StringIO()
    call_command("prune", "--dry-run", stdout=shown)
    assert "prune --clock-is-right" in shown.getvalue()
    with pytest.raises(Unavailable, match="clock-is-right"):
        call_command("prune", stdout=io.StringIO())
    assert reader.head().minimum_index == 0
    assert RetentionRun.objects.get().error
    shown = io.StringIO()
    call_command("prune", "--clock-is-right", "--json", stdout=shown)
    assert json.loads(shown.getvalue())["events"] == 512
    confirmed = next(event for event in reader.newest(10) if event.action == "retention.clock_confirmed")
    assert confirmed.actor is not None
    assert confirmed.actor.type == "os_user"
    with pytest.raises(Conflict, match="believed already"):
        call_command("prune", "--clock-is-right", stdout=io.StringIO())


def test_an_admin_confirms_on_the_page(admin_client: Client) -> None:
    """Every page asks admins; Data Retention shows both times and what would go; the answer is recorded, and retention goes on."""
    record_events(512, utc_now() - LEAP)
    clock.look(utc_now() - LEAP)
    assert "Is the server’s clock right?" in admin_client.get("/profile/").content.decode()
    assert "The server's clock says" in admin_client.get("/readyz").json()["retention"]
    answer = admin_client.get(PAGE)
    text = answer.content.decode()
    assert '<strong class="num">512</strong> events' in text
    assert "Waits: " in text
    assert jobs.prune_if_due() is None
    admin_client.post(PAGE + "clock/", {"seen": (utc_now() - timedelta(days=1)).isoformat()})
    assert jobs.prune_if_due() is None
    seen = answer.context["leap"].now.astimezone(UTC).isoformat()
    assert f'value="{seen}"' in text
    shown = admin_client.post(PAGE + "clock/", {"seen": seen}, follow=True).content.decode()
    assert "Confirmed." in shown
    assert "Is the server’s clock right?" not in shown
    event = reader.newest(1)[0]
    assert event.action == "retention.clock_confirmed"
    assert event.actor is not None
    assert event.actor.email == "alice@example.com"
    run = jobs.prune_if_due()
    assert run is not None
    assert run.events == 512
    assert "retention" not in admin_client.get("/readyz").json()


def test_a_confirmation_that_comes_too_late(admin_client: Client) -> None:
    """The clock was set right, or another admin was first: the page says that there is nothing to confirm, and nothing is recorded."""
    clock.look(utc_now())
    size = reader.head().size
    seen = (utc_now() + LEAP).isoformat()
    shown = admin_client.post(PAGE + "clock/", {"seen": seen}, follow=True).content.decode()
    assert "The clock is believed already. There is nothing to confirm." in shown
    assert "Confirmed." not in shown
    assert reader.head().size == size


def test_no_request_expires_by_a_leap(admin: User, carol: User) -> None:
    """What waits for a second admin waits still when the clock is right again; seven days of a clock that is believed end it."""
    changes.choose(admin, Context(), changes.RETENTION, 30, now=utc_now() - timedelta(days=8))
    expire = next(task.run for task in TASKS if task.name == "approvals")
    clock.look(utc_now() - LEAP)
    expire(threading.Event())
    assert Approval.objects.get().state == "waiting"
    clock.confirm(utc_now(), ALICE, Context(), utc_now())
    expire(threading.Event())
    assert Approval.objects.get().state == "expired"


def test_nobody_else_confirms_or_is_asked(ledger: Check) -> None:
    """A member is shown no banner and refused."""
    bob = User.objects.create_user("bob@example.com", "correct horse battery", role="member")
    clock.look(utc_now() - LEAP)
    client = Client()
    client.force_login(bob)
    assert "clock right" not in client.get("/profile/").content.decode()
    assert client.post(PAGE + "clock/", {"seen": utc_now().isoformat()}).status_code == 403
    assert clock.leap(utc_now()) is not None


def test_a_page_without_its_time_confirms_nothing(admin_client: Client) -> None:
    """What was not shown cannot be confirmed."""
    clock.look(utc_now() - LEAP)
    assert admin_client.post(PAGE + "clock/", {}).status_code == 400
    assert clock.leap(utc_now()) is not None


def test_for_ever_looks_as_well(ledger: Check) -> None:
    """While nothing is removed the clock is looked at all the same, so that a retention chosen later knows."""
    update_preferences(ALICE, Context(), "data_retention", audit_retention_days=None)
    assert jobs.prune_if_due(NOON) is None
    update_preferences(ALICE, Context(), "data_retention", audit_retention_days=365)
    assert jobs.prune_if_due(NOON + LEAP) is None
