"""A wall clock that was ahead for a while holds no delivery up until it has come there."""

from __future__ import annotations

from datetime import timedelta

from opssentinal.integrations.follower import Follower
from tests.integrations.conftest import NOON, Clock, Receiver, connect, deliver, record_events


def test_a_pause_set_by_a_clock_that_was_ahead_is_over(receiver: Receiver, follower: Follower, clock: Clock) -> None:
    """What failed a year ahead is tried again at once when the clock is right, and its day of retries begins then."""
    made = connect(receiver)
    receiver.answers += [(500, {}, b"no"), (500, {}, b"no")]
    record_events(2)
    clock.move(days=400)
    ahead = deliver(follower, made.integration)
    assert ahead.next_attempt_at is not None and ahead.next_attempt_at > clock.now
    assert follower.due() == []
    clock.now = NOON
    failed = deliver(follower, made.integration)
    assert failed.failing_since == NOON
    assert failed.next_attempt_at is not None and NOON < failed.next_attempt_at < NOON + timedelta(minutes=1)
    assert follower.due() == []
    clock.now = failed.next_attempt_at
    assert deliver(follower, made.integration).position == 3
    assert len(receiver.received) == 3
