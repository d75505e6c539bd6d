"""Whatever happens on the way: those who know webhook-ids get every event once, in order, from where it began."""

from __future__ import annotations

from datetime import timedelta

from django.db import DatabaseError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opssentinal.integrations import services
from opssentinal.integrations.follower import LEASE, Follower
from opssentinal.integrations.models import Delivery, Integration
from tests.integrations.conftest import ALICE, HERE, Answer, Clock, Received, Receiver, connect, deliver, record_events
from tests.ledger.conftest import reset_head
from tests.workspace.conftest import away

# What the receiver, the operator, the admin or the machine does next.
COURSES = st.lists(
    st.sampled_from(
        [
            "record",
            "record",
            "step",
            "step",
            "fail",
            "gone",
            "lost answer",
            "crash",
            "other back",
            "wait",
            "pause",
            "resume",
        ]
    ),
    min_size=5,
    max_size=30,
)


class Course:
    """An integration with two backs, and what may happen to them."""

    def __init__(self, receiver: Receiver) -> None:
        self.clock = Clock()
        self.backs = [Follower("back-1", self.clock), Follower("back-2", self.clock)]
        self.receiver = receiver
        self.integration = connect(receiver, query="action:user.*", batch_events_max=3).integration
        self.recorded = 0

    def step(self, behave: object = None) -> None:
        self.receiver.behave = behave  # type: ignore[assignment]
        self.backs[0].step(self.integration.pk)
        self.receiver.behave = None

    def go(self, action: str) -> None:
        integration = Integration.objects.get()
        match action:
            case "record":
                record_events(2, self.recorded)
                record_events(1, self.recorded, action="other.thing")
                self.recorded += 2
            case "step":
                self.step()
            case "fail":
                self.step(lambda _: (500, {}, b""))
            case "gone":
                self.step(lambda _: (410, {}, b""))
            case "crash" | "lost answer":
                self.lose_result()
            case "other back":
                self.clock.now += LEASE + timedelta(seconds=1)
                self.backs.reverse()
            case "wait":
                # Never back: another back's lease would last again.
                self.clock.now = max(integration.next_attempt_at or self.clock.now, self.clock.now)
            case "pause" if not integration.is_paused:
                services.pause(integration.public_id, ALICE, HERE)
            case "resume" if integration.is_paused:
                services.resume(integration.public_id, ALICE, HERE)

    def lose_result(self) -> None:
        """The request arrives, but its result cannot be written, as when the process ends there."""
        lost = away("integrations_integration")
        taken: list[Received] = []

        def behave(request: Received) -> Answer | None:
            taken.append(request)
            lost.__enter__()
            return None

        try:
            self.step(behave)
        except DatabaseError:
            pass
        finally:
            self.receiver.behave = None
            if taken:
                lost.__exit__(None, None, None)

    def finish(self) -> None:
        self.go("other back")
        self.go("resume")
        self.go("wait")
        for _ in range(100):
            if not deliver(self.backs[0], self.integration).next_attempt_at:
                return
            self.go("wait")
        raise AssertionError("the deliveries never end")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=COURSES)
def test_nothing_is_missing_doubled_or_out_of_order(receiver: Receiver, actions: list[str]) -> None:
    """Failures, lost answers, crashes, takeovers, pauses: only repetitions under the same id ever come of them."""
    Integration.objects.all().delete()
    reset_head()
    receiver.received.clear()
    course = Course(receiver)
    for action in actions:
        course.go(action)
    course.finish()
    numbers: list[int] = []
    known: dict[str, bytes] = {}
    for request in receiver.received:
        if request.webhook_id not in known:
            numbers += [event["metadata"]["number"] for event in request.payload["data"]["events"]]
        assert known.setdefault(request.webhook_id, request.body) == request.body
    assert numbers == list(range(course.recorded))
    assert not Delivery.objects.filter(status="pending").exists()
