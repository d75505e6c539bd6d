"""Deliveries to a real receiver that fails, hangs and recovers: in order, at least once, nothing skipped."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import DatabaseError

from opssentinal.errors import Conflict
from opssentinal.events.model import to_us
from opssentinal.formats import event_json
from opssentinal.integrations import batch, services, webhook
from opssentinal.integrations.follower import LEASE, Follower
from opssentinal.integrations.models import Delivery, Integration
from opssentinal.ledger import reader
from opssentinal.ledger.pruning import prune
from tests.integrations.conftest import (
    ALICE,
    HERE,
    NOON,
    Answer,
    Clock,
    Received,
    Receiver,
    connect,
    deliver,
    events,
    record_events,
)
from tests.ledger.conftest import NOW_US, commit, make_event
from tests.server import free_port
from tests.workspace.conftest import away, unwritable


def test_events_arrive_in_order_and_signed(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """All events from the creation on arrive once, in order, in batches, signed, each as the API shows it."""
    record_events(3)
    made = connect(receiver, batch_events_max=4)
    record_events(8, 3)
    after = deliver(follower, made.integration)
    assert receiver.seqs == list(range(3, 12))
    assert [len(request.seqs) for request in receiver.received] == [4, 4, 1]
    assert after.position == 12
    assert after.last_delivered_at == clock.now
    for request in receiver.received:
        assert request.is_signed_with(made.secret)
        assert request.headers["webhook-timestamp"] == str(int(clock.now.timestamp()))
        assert request.headers["content-type"] == "application/json"
        assert (request.payload["type"], request.payload["timestamp"]) == ("audit_log.events", "2026-11-22T12:00:00Z")
        assert request.payload["data"]["integration"] == made.integration.public_id
        for seq in request.seqs:
            assert event_json(reader.read_event(seq)) in request.body
    assert len({request.webhook_id for request in receiver.received}) == 3
    assert deliver(follower, made.integration).position == 12
    assert len(receiver.received) == 3


def test_the_first_delivery_is_its_own_creation(receiver: Receiver, follower: Follower) -> None:
    """An integration begins with the event that tells of it, so that it can be seen to work."""
    deliver(follower, connect(receiver).integration)
    assert [event["action"] for event in receiver.received[0].payload["data"]["events"]] == ["integration.created"]


def test_deliveries_write_no_events(receiver: Receiver, follower: Follower) -> None:
    """An integration that is sent every event does not feed on itself."""
    integration = connect(receiver).integration
    record_events(5)
    deliver(follower, integration)
    assert len(events()) == 6


def test_only_what_the_query_means_is_sent(receiver: Receiver, follower: Follower) -> None:
    """Other events are passed over without a delivery, and the position goes past them."""
    integration = connect(receiver, query="action:login.*").integration
    record_events(5, action="user.created")
    record_events(2, action="login.success")
    record_events(5, action="user.created")
    after = deliver(follower, integration)
    assert receiver.seqs == [6, 7]
    assert after.position == 13
    assert Delivery.objects.count() == 1
    record_events(3, action="user.created")
    assert deliver(follower, integration).position == 16
    assert Delivery.objects.count() == 1


def test_a_look_is_bounded(receiver: Receiver, follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that means nothing in a long log is looked for in portions, each of which is kept."""
    monkeypatch.setattr(batch, "LOOK_EVENTS_MAX", 4)
    integration = connect(receiver, query="action:never.seen").integration
    for first in range(0, 20, 4):
        record_events(4, first)
    assert follower.step(integration.pk)
    assert 0 < Integration.objects.get().position < 21
    assert deliver(follower, integration).position == 21
    assert receiver.received == []


def test_large_events_make_small_batches(receiver: Receiver, follower: Follower) -> None:
    """A body stays within its limit; an event is never cut."""
    integration = connect(receiver).integration
    record_events(30, metadata={"note": "x" * 60_000})
    deliver(follower, integration)
    assert receiver.seqs == list(range(31))
    assert max(len(request.body) for request in receiver.received) < batch.BODY_BYTES_MAX + 70_000
    assert len(receiver.received) > 2


def test_what_fails_is_tried_again_as_it_was(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """The same body goes out under the same webhook-id, with a new timestamp, not before its time, until it is taken."""
    made = connect(receiver)
    receiver.answers += [(500, {}, b"no"), (302, {"Location": receiver.url}, b""), (404, {}, b"")]
    record_events(2)
    for attempt in range(1, 4):
        failed = deliver(follower, made.integration)
        delivery = Delivery.objects.get()
        assert (failed.position, failed.failing_since, delivery.attempts) == (0, NOON, attempt)
        assert failed.next_attempt_at is not None and failed.next_attempt_at > clock.now
        assert follower.due() == []
        clock.now = failed.next_attempt_at - timedelta(milliseconds=1)
        assert not follower.step(made.integration.pk)
        clock.now = failed.next_attempt_at
        record_events(1, attempt + 10)
    assert len(receiver.received) == 3
    after = deliver(follower, made.integration)
    first, *others, rest = receiver.received
    assert {(each.webhook_id, each.body) for each in others} == {(first.webhook_id, first.body)}
    assert others[-1].headers["webhook-timestamp"] > first.headers["webhook-timestamp"]
    assert all(request.is_signed_with(made.secret) for request in receiver.received)
    assert rest.seqs == [3, 4, 5]
    assert (after.position, after.failing_since, after.next_attempt_at) == (6, None, None)
    taken = Delivery.objects.get(webhook_id=first.webhook_id)
    assert (taken.status, taken.status_code, taken.attempts, taken.error) == ("delivered", 204, 4, "")


def test_the_last_answer_is_kept(receiver: Receiver, follower: Follower) -> None:
    """Status, latency and the beginning of the answer are in the row, whatever bytes it is made of."""
    receiver.answers.append((503, {}, b"\x00\xffdown " + b"x" * 10_000))
    integration = connect(receiver).integration
    deliver(follower, integration)
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.status_code, delivery.error) == ("pending", 503, "503 Service Unavailable.")
    assert delivery.latency_ms is not None
    assert delivery.response.startswith("��down xxx")
    assert len(delivery.response) <= 2_000


def test_a_receiver_may_ask_for_time(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """Retry-After of 429 and 503 is honoured, that of other answers is not."""
    integration = connect(receiver).integration
    receiver.answers += [(429, {"Retry-After": "600"}, b""), (500, {"Retry-After": "6000"}, b"")]
    assert deliver(follower, integration).next_attempt_at == NOON + timedelta(minutes=10)
    clock.move(minutes=10)
    following = deliver(follower, integration).next_attempt_at
    assert following is not None and following <= clock.now + timedelta(seconds=10)


def test_after_a_day_it_pauses_and_says_why(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """A receiver that is down for a day pauses its integration, which is recorded; resumed, it goes on where it was."""
    receiver.behave = lambda _: (503, {}, b"")
    integration = connect(receiver).integration
    record_events(1)
    while not (now := deliver(follower, integration)).is_paused:
        assert now.next_attempt_at is not None
        clock.now = now.next_attempt_at
    assert clock.now == NOON + timedelta(hours=24)
    assert (now.paused_code, now.position, now.next_attempt_at) == ("failing", 0, None)
    assert "503 Service Unavailable" in now.paused_reason
    (recorded,) = events("integration.paused")
    assert recorded.metadata["position"] == 0
    assert recorded.metadata["reason"] == now.paused_reason
    assert recorded.targets[0].id == integration.public_id
    clock.move(days=3)
    assert follower.due() == []
    tried = len(receiver.received)
    assert not follower.step(integration.pk)
    assert len(receiver.received) == tried
    receiver.behave = None
    services.resume(integration.public_id, ALICE, HERE)
    after = deliver(follower, integration)
    assert receiver.received[tried].webhook_id == receiver.received[0].webhook_id
    assert receiver.received[tried].seqs == [0, 1]
    assert not after.is_paused
    assert after.position == len(events())


def test_a_resumed_one_has_a_new_day(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """What still fails after resuming is tried for a day again, rather than paused at once."""
    receiver.behave = lambda _: (500, {}, b"")
    integration = connect(receiver).integration
    while not (now := deliver(follower, integration)).is_paused:
        clock.now = now.next_attempt_at or clock.now
    services.resume(integration.public_id, ALICE, HERE)
    now = deliver(follower, integration)
    assert (now.is_paused, now.failing_since) == (False, clock.now)


def test_gone_pauses_at_once(receiver: Receiver, follower: Follower) -> None:
    """410 Gone says that nothing is wanted any more (Standard Webhooks): no second attempt is made."""
    receiver.answers.append((410, {}, b""))
    integration = connect(receiver).integration
    now = deliver(follower, integration)
    assert (now.paused_code, now.paused_reason) == ("gone", "410 Gone: the receiver wants no more.")
    assert len(events("integration.paused")) == 1


def test_a_refused_address_pauses_at_once(receiver: Receiver, follower: Follower) -> None:
    """An address that may not be spoken to is no matter of trying again."""
    integration = connect(receiver).integration
    Integration.objects.update(url="https://10.0.0.1/hook")
    now = deliver(follower, integration)
    assert now.paused_code == "refused"
    assert "private address" in now.paused_reason
    assert len(events("integration.paused")) == 1


def test_a_secret_of_another_server_key_pauses_at_once(receiver: Receiver, follower: Follower) -> None:
    """Where the secret cannot be read, nothing goes out unsigned; a new one gets it going again."""
    integration = connect(receiver).integration
    Integration.objects.update(secret="gAAAAA")
    assert deliver(follower, integration).paused_code == "secret"
    assert receiver.received == []
    made = services.rotate_secret(integration.public_id, 1, 24, ALICE, HERE)
    services.resume(integration.public_id, ALICE, HERE)
    deliver(follower, integration)
    assert receiver.received[0].is_signed_with(made.secret)


def test_a_receiver_that_is_not_there(receiver: Receiver, follower: Follower) -> None:
    """A refused connection is a failure like others, told in words."""
    integration = connect(receiver).integration
    Integration.objects.update(url=f"http://127.0.0.1:{free_port()}/")
    now = deliver(follower, integration)
    assert not now.is_paused
    assert Delivery.objects.get().error == "Connection refused."


@pytest.mark.parametrize("table", ["ledger_bundle", "integrations_integration"])
def test_pausing_needs_its_record(receiver: Receiver, follower: Follower, table: str) -> None:
    """If the pause cannot be recorded, or not be stored, neither happens, nor does the result of the attempt; the next step has it."""
    receiver.answers += [(410, {}, b""), (410, {}, b"")]
    integration = connect(receiver).integration
    follower.step(integration.pk + 1)  # nothing: there is no such integration

    def break_ledger(_: Received) -> Answer:
        broken.__enter__()
        return 410, {}, b""

    broken = unwritable(table)
    receiver.behave = break_ledger
    try:
        with pytest.raises(DatabaseError):
            follower.step(integration.pk)
    finally:
        broken.__exit__(None, None, None)
    assert not Integration.objects.get().is_paused
    assert Delivery.objects.get().attempts == 0
    assert events("integration.paused") == []
    receiver.behave = None
    assert deliver(follower, integration).paused_code == "gone"
    assert len(events("integration.paused")) == 1


def test_a_crash_after_the_send_sends_again_under_the_same_id(receiver: Receiver, follower: Follower) -> None:
    """The result of a send is lost with the process: position and row are as before it, and it goes out once more."""
    integration = connect(receiver).integration
    record_events(3)
    lost = away("integrations_integration")

    def crash(_: Received) -> None:
        lost.__enter__()

    receiver.behave = crash
    try:
        with pytest.raises(DatabaseError):
            follower.step(integration.pk)
    finally:
        lost.__exit__(None, None, None)
    receiver.behave = None
    assert Integration.objects.get().position == 0
    restarted = Follower("back-1", lambda: NOON)
    assert deliver(restarted, integration).position == 4
    first, second = receiver.received
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)


def test_a_crash_before_the_send_loses_nothing(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """The row is made before the send: a process that dies in between leaves a delivery that the next one sends."""
    integration = connect(receiver).integration
    record_events(3)
    claimed = follower._claimed(integration.pk)
    assert claimed is not None
    made = follower._begin(claimed, batch.next_batch(0, claimed.filter, 100))
    assert made is not None
    assert deliver(Follower("back-1", clock), integration).position == 4
    assert [request.webhook_id for request in receiver.received] == [made.webhook_id]


def test_two_backs_do_not_send_side_by_side(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """While one works on an integration another one leaves it alone, until the lease has run out."""
    integration = connect(receiver).integration
    other = Follower("back-2", clock)
    deliver(follower, integration)
    record_events(1)
    assert other.due() == []
    assert not other.step(integration.pk)
    clock.now += LEASE + timedelta(seconds=1)
    assert other.due() == [integration.pk]
    assert deliver(other, integration).position == 2
    assert follower.due() == []
    other.release()
    record_events(1, 5)
    assert deliver(follower, integration).position == 3
    assert receiver.seqs == [0, 1, 2]


def test_a_result_that_comes_after_the_lease_is_given_up(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """A back that was away too long finds that another one has taken over: the position moves once and never back."""
    integration = connect(receiver).integration
    record_events(3)
    other = Follower("back-2", clock)

    def take_over(_: Received) -> None:
        receiver.behave = None
        clock.now += LEASE + timedelta(seconds=1)
        while other.step(integration.pk):
            continue

    receiver.behave = take_over
    assert not follower.step(integration.pk)
    assert Integration.objects.get().position == 4
    assert [each.seqs for each in receiver.received] == [[0, 1, 2, 3]] * 2
    assert len({each.webhook_id for each in receiver.received}) == 1
    assert Delivery.objects.get().attempts == 1


def test_paused_during_a_send(receiver: Receiver, follower: Follower) -> None:
    """What arrived has arrived; the rest waits."""
    integration = connect(receiver, batch_events_max=1).integration
    record_events(2)

    def pause(_: Received) -> None:
        receiver.behave = None
        services.pause(integration.public_id, ALICE, HERE)

    receiver.behave = pause
    after = deliver(follower, integration)
    assert (after.is_paused, after.position, receiver.seqs) == (True, 1, [0])


def test_paused_while_it_fails(receiver: Receiver, follower: Follower) -> None:
    """An admin's pause is not turned into one of the product's."""
    integration = connect(receiver).integration

    def pause(_: Received) -> Answer:
        services.pause(integration.public_id, ALICE, HERE)
        return 410, {}, b""

    receiver.behave = pause
    assert deliver(follower, integration).paused_code == "admin"
    assert events("integration.paused") == []


def test_deleted_during_a_send(receiver: Receiver, follower: Follower) -> None:
    """It ends without a trace in the tables; the log has it."""
    integration = connect(receiver).integration

    def delete(_: Received) -> None:
        services.delete_integration(integration.public_id, ALICE, HERE)

    receiver.behave = delete
    assert not follower.step(integration.pk)
    assert (Integration.objects.count(), Delivery.objects.count()) == (0, 0)
    assert [event.action for event in events()] == ["integration.created", "integration.deleted"]


def test_another_query_withdraws_what_is_on_its_way(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """Events that the new query does not mean are not sent any more, also if a delivery of them was waiting."""
    receiver.answers.append((500, {}, b""))
    integration = connect(receiver).integration
    record_events(2, action="login.success")
    deliver(follower, integration)
    services.update_integration(integration.public_id, ALICE, HERE, query="action:login.*")
    clock.move(hours=1)
    after = deliver(follower, integration)
    assert [each.seqs for each in receiver.received] == [[0, 1, 2], [1, 2]]
    assert after.position == 4  # beyond integration.updated
    assert sorted(Delivery.objects.values_list("status", flat=True)) == ["delivered", "withdrawn"]


def test_another_query_during_a_send(receiver: Receiver, follower: Follower) -> None:
    """The answer to a withdrawn delivery moves nothing: the same events are looked at again with the new query."""
    integration = connect(receiver).integration
    record_events(2, action="login.success")

    def edit(_: Received) -> None:
        receiver.behave = None
        services.update_integration(integration.public_id, ALICE, HERE, query="action:login.*")

    receiver.behave = edit
    assert deliver(follower, integration).position == 4
    assert [each.seqs for each in receiver.received] == [[0, 1, 2], [1, 2]]


def test_replay_sends_again_from_a_point_on(receiver: Receiver, follower: Follower) -> None:
    """Events come again from there, in order, under new ids, and it goes on; the log says from where and who."""
    integration = connect(receiver, batch_events_max=4).integration
    record_events(9)
    deliver(follower, integration)
    services.replay(integration.public_id, 6, ALICE, HERE)
    after = deliver(follower, integration)
    assert receiver.seqs == [*range(10), *range(6, 11)]
    assert len({each.webhook_id for each in receiver.received}) == len(receiver.received)
    assert after.position == 11
    (recorded,) = events("integration.replayed")
    assert recorded.metadata == {"from_seq": 6, "position": 10}


def test_replay_during_a_send(receiver: Receiver, follower: Follower) -> None:
    """The answer that was waited for does not undo the replay."""
    integration = connect(receiver).integration
    record_events(3)
    deliver(follower, integration)
    record_events(1, 3)

    def replay(_: Received) -> None:
        receiver.behave = None
        services.replay(integration.public_id, 0, ALICE, HERE)

    receiver.behave = replay
    deliver(follower, integration)
    assert receiver.seqs == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5]


def _prune_all_but_the_newest() -> int:
    """Have a day pass, record one more event and let retention take the others; return the minimum index."""
    later = reader.head().recorded_at_us + 86_400_000_000
    commit([make_event(1)], later)
    prune(later)
    return reader.head().minimum_index


def test_events_that_retention_took_are_never_passed_over_silently(
    receiver: Receiver, follower: Follower, clock: Clock
) -> None:
    """It pauses and says how many are gone; an admin who confirms has it go on after them, and that is recorded."""
    integration = connect(receiver).integration
    services.pause(integration.public_id, ALICE, HERE)
    record_events(600)
    first = _prune_all_but_the_newest()
    assert 0 < first <= 602
    with pytest.raises(Conflict, match=f"{first} events are gone"):
        services.resume(integration.public_id, ALICE, HERE)
    # The same where it was not paused by anybody.
    Integration.objects.update(paused_at=None, paused_code="", paused_reason="")
    now = deliver(follower, integration)
    assert (now.paused_code, now.position) == ("gap", 0)
    assert now.paused_reason.startswith(f"{first:,} events are gone")
    assert receiver.received == []
    assert len(events("integration.paused")) == 1
    services.resume(integration.public_id, ALICE, HERE, leave_out=True)
    after = deliver(follower, integration)
    assert receiver.seqs == list(range(first, reader.head().size))
    assert after.position == reader.head().size
    recorded = events("integration.updated")[-1]
    assert [(change.field, change.before, change.after) for change in recorded.changes] == [
        ("enabled", False, True),
        ("position", 0, first),
    ]


def test_a_pending_delivery_whose_events_were_taken(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """A delivery that waited for so long that its events are gone pauses too, rather than going out without them."""
    integration = connect(receiver).integration
    record_events(600)
    receiver.answers.append((500, {}, b""))
    deliver(follower, integration)
    first = _prune_all_but_the_newest()
    clock.move(hours=1)
    assert deliver(follower, integration).paused_code == "gap"
    services.resume(integration.public_id, ALICE, HERE, leave_out=True)
    deliver(follower, integration)
    assert [each.seqs[0] for each in receiver.received][:2] == [0, first]
    assert Delivery.objects.filter(status="withdrawn").count() == 1


def test_the_time_of_a_replay_is_that_of_recording(receiver: Receiver) -> None:
    """A moment means the first event recorded then or later."""
    for day in range(3):
        commit([make_event(day), make_event(day + 10)], NOW_US + day * 86_400_000_000)
    assert reader.first_since(0) == 0
    assert reader.first_since(NOW_US) == 0
    assert reader.first_since(NOW_US + 1) == 2
    assert reader.first_since(NOW_US + 86_400_000_000) == 2
    assert reader.first_since(NOW_US + 2 * 86_400_000_000) == 4
    assert reader.first_since(NOW_US + 9 * 86_400_000_000) == 6
    connect(receiver)
    assert reader.first_since(to_us(reader.read_event(6).recorded_at)) <= 6


def test_a_hanging_receiver_is_a_failure(
    receiver: Receiver, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that takes the request and does not answer fails with a timeout, and gets it again."""
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.3)
    released = threading.Event()
    receiver.behave = lambda _: released.wait(20) and None
    integration = connect(receiver).integration
    try:
        now = deliver(follower, integration)
    finally:
        released.set()
    assert now.failing_since == NOON
    assert "no whole answer" in Delivery.objects.get().error
