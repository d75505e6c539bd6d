"""Every write and fsync fails in turn: what is acknowledged is there, what is refused is not, and the server goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from tests.crash import injection
from tests.crash.conftest import Subject

# Faults under load: how many; FAULTS in the shell asks for more, as a long run does.
FAULTS = int(os.environ.get("FAULTS", "4"))
_CALLS_MAX = 60


class Sender:
    """Sends events and keeps what the server said of each."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.refused: set[str] = set()

    def send(self, count: int = 1) -> tuple[int, dict[str, Any]]:
        """Send new events, once; an answer other than 201 must be a problem that says to come back."""
        events = [
            {"id": str(uuid.uuid4()), "action": "disk.tested", "actor": {"type": "test", "id": str(n)}}
            for n in range(count)
        ]
        headers = {"Authorization": f"Bearer {self._subject.key}", "Content-Type": "application/json"}
        status, body = self._subject.server.request("POST", "/api/v1/events", json.dumps(events).encode(), headers)
        answer = json.loads(body)
        if status == 201:
            self._subject.acknowledged.add(answer["results"])
        else:
            assert (status, answer["status"]) == (503, 503), answer
            assert answer["type"].startswith("urn:opssentinal:error:")
            if answer["code"] != "outcome_unknown":
                self.refused |= {str(event["id"]) for event in events}
        return status, answer


@pytest.fixture
def sequencer(subject: Subject) -> int:
    """The thread id of the sequencer."""
    injection.require()
    sender = Sender(subject)
    sender.send()  # the first opens what the others find open
    return injection.thread_that(subject.server.pid, "fsync", lambda: assert_sent(sender))


def assert_sent(sender: Sender) -> None:
    """Send one event that must be acknowledged."""
    assert sender.send()[0] == 201


def test_each_call_of_a_commit_fails_in_turn(subject: Subject, sequencer: int) -> None:
    """Whichever call of a commit fails, its events are refused and not in the log, and the next commit is as usual."""
    sender = Sender(subject)
    for call, least in (("pwrite64", 6), ("fsync", 1)):
        for error in ("EIO", "ENOSPC"):
            failed = 0
            for nth in range(1, _CALLS_MAX):
                with injection.failing(sequencer, call, error, str(nth)):
                    status, _ = sender.send(3)
                if status == 201:
                    break  # a commit has fewer calls than that
                failed += 1
                assert_sent(sender)
            assert least <= failed < _CALLS_MAX - 1
    assert sender.refused
    assert not sender.refused & {event["id"] for event in subject.check().values()}


def test_a_refused_event_does_not_come_back_after_a_crash(subject: Subject, sequencer: int) -> None:
    """fsync fails after the commit mark was written, then all processes are killed: recovery finds nothing to take."""
    sender = Sender(subject)
    server = subject.server
    with injection.failing(sequencer, "fsync", "EIO", "1"):
        status, answer = sender.send(5)
    assert (status, answer["code"]) == (503, "unavailable")
    assert sender.refused
    for child in server.children():
        os.kill(child, signal.SIGKILL)
    server.kill()
    server.start()
    assert not sender.refused & {event["id"] for event in subject.check().values()}


def test_a_refused_change_does_not_come_back_after_a_crash(subject: Subject) -> None:
    """The same for what a page or the API writes beside the sequencer: an export that was refused is not there afterwards."""
    injection.require()
    server = subject.server
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
    server.api("/api/v1/exports", subject.key)  # so that the key's last use is noted before
    before = len(server.api("/api/v1/exports?limit=100", subject.key)["data"])
    with injection.failing(server.pid, "fsync", "EIO", "1", follow=True):
        status, body = server.request("POST", "/api/v1/exports", b'{"format": "csv"}', headers)
    assert (status, json.loads(body)["code"]) == (503, "unavailable")
    for child in server.children():
        os.kill(child, signal.SIGKILL)
    server.kill()
    server.start()
    assert len(server.api("/api/v1/exports?limit=100", subject.key)["data"]) == before
    subject.check()


def test_a_disk_that_fails_for_longer(subject: Subject, sequencer: int) -> None:
    """While no fsync works nothing is acknowledged and /readyz says so; the log can be read, and then all goes on."""
    sender, server = Sender(subject), subject.server
    with injection.failing(sequencer, "fsync", "EIO", "1+"):
        status, answer = sender.send()
        assert (status, answer["code"]) == (503, "outcome_unknown")
        status, body = server.get("/readyz")
        assert status == 503
        assert "cannot be written" in json.loads(body)["ledger"]["reason"] or "cannot say" in str(body)
        assert len(server.api("/api/v1/events", subject.key)["data"]) >= 2
    deadline = time.monotonic() + 20
    while server.get("/readyz")[0] != 200:  # by itself: nobody sends anything
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert_sent(sender)
    subject.check()


# What the front and the back do all the time under load, and how often at least in the time that a fault waits for it.
_ALL_THE_TIME = {"front": (("fsync", "pwrite64"), 20), "back": (("fsync,fdatasync", "write"), 2)}


def test_faults_anywhere_under_load(subject: Subject) -> None:
    """Calls of any thread of the front and of the back fail at random under load: all is there once, search has the same."""
    injection.require()
    chance, happened = random.Random(11), Counter[str]()
    with subject.load():
        for number in range(FAULTS):
            back = subject.server.back() if number % 2 else None  # none while it is being started again
            victim = "front" if back is None else "back"
            calls, often = _ALL_THE_TIME[victim]
            with (
                suppress(ProcessLookupError),  # the back has just ended of the fault before
                injection.failing(
                    back or subject.server.pid,
                    chance.choice(calls),
                    chance.choice(("EIO", "ENOSPC")),
                    str(chance.randint(1, often)),
                    follow=True,
                ) as failed,
            ):
                until = time.monotonic() + 0.7
                while time.monotonic() < until:
                    # While somebody asks, the index is written too.
                    subject.server.get("/api/v1/events?limit=1", {"Authorization": f"Bearer {subject.key}"})
                happened[victim] += failed()
    assert happened["front"]
    assert happened["back"]
    subject.check()
