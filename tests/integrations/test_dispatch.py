"""The task of the back: each integration at its own pace, and nothing lost when it ends or fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connections

from opssentinal.errors import IntegrityError
from opssentinal.integrations.dispatch import Dispatcher
from opssentinal.integrations.follower import Follower
from opssentinal.integrations.models import Integration
from tests.integrations.conftest import Receiver, connect, record_events


@contextmanager
def running(dispatcher: Dispatcher) -> Iterator[list[BaseException]]:
    """The dispatcher at work; the errors it raised."""
    stop, raised = threading.Event(), []

    def work() -> None:
        try:
            while not stop.is_set():
                try:
                    dispatcher(stop)
                except Exception as error:  # noqa: BLE001 - what the runner does
                    raised.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield raised
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def test_a_slow_receiver_delays_no_other(receive: Callable[[], Receiver]) -> None:
    """While one receiver hangs, another one gets event after event."""
    slow, quick = receive(), receive()
    released = threading.Event()
    slow.behave = lambda _: released.wait(30) and None
    connect(slow)
    connect(quick)
    with running(Dispatcher(Follower("back-1"), look_s=0.02)):
        slow.wait_for(lambda: len(slow.received) == 1)
        for number in range(5):
            record_events(1, number)
            quick.wait_for(lambda number=number: quick.seqs == list(range(1, number + 3)))  # type: ignore[misc]
        assert len(slow.received) == 1
        released.set()
        slow.wait_for(lambda: len(slow.seqs) == 7)
    assert slow.seqs == list(range(7))


def test_more_integrations_than_workers(receive: Callable[[], Receiver]) -> None:
    """With a single worker every integration still gets its turn."""
    receivers = [receive() for _ in range(4)]
    for receiver in receivers:
        connect(receiver)
    record_events(3)
    with running(Dispatcher(Follower("back-1"), look_s=0.02, workers_max=1)):
        for place, receiver in enumerate(receivers):
            receiver.wait_for(lambda r=receiver, p=place: r.seqs == list(range(p, 7)))  # type: ignore[misc]


def test_it_waits_for_what_is_being_sent_and_releases(receiver: Receiver) -> None:
    """Stopped in the middle of a send, it writes the result first, and another process may take over at once."""
    released, begun = threading.Event(), threading.Event()

    def linger(_: object) -> None:
        begun.set()
        released.wait(10)

    receiver.behave = linger
    connect(receiver)
    with running(Dispatcher(Follower("back-1"), look_s=0.02)):
        assert begun.wait(30)
        threading.Timer(0.2, released.set).start()
    integration = Integration.objects.get()
    assert (integration.position, integration.lease_owner, integration.lease_until) == (1, "", None)


def test_an_error_of_the_ledger_is_raised_and_stops_no_other(receive: Callable[[], Receiver]) -> None:
    """What no receiver is to blame for reaches the runner, which shows it, while other integrations go on."""

    class Damaged(Follower):
        def step(self, pk: int) -> bool:
            if pk == bad.pk:
                raise IntegrityError("The ledger has no bundle for seq 0.")
            return super().step(pk)

    good = receive()
    bad = connect(receive()).integration
    connect(good)
    with running(Dispatcher(Damaged("back-1"), look_s=0.02)) as raised:
        good.wait_for(lambda: good.seqs == [1])
        record_events(1)
        good.wait_for(lambda: good.seqs == [1, 2])
        deadline = time.monotonic() + 40
        while not raised and time.monotonic() < deadline:
            time.sleep(0.01)
    assert raised
    assert all(isinstance(error, IntegrityError) for error in raised)
