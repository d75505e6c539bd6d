"""kill -9 at random moments under load: every acknowledged event is there once, and search agrees with the ledger."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.crash.checks import check_everything
from tests.crash.clients import Acknowledged, Client
from tests.crash.conftest import Subject
from tests.server import ServerProcess

# How many times the server is killed; KILLS in the shell asks for more, as a long run does.
KILLS = int(os.environ.get("KILLS", "4"))
HELPER_KILLS = 2 * KILLS
# Requests that a client sends before it reads the answers.
_AT_ONCE = 5


def test_acknowledged_events_survive(tmp_path: Path) -> None:
    """The server is killed again and again, alone or with all its processes, while clients send, one request or several at once
    over connections that they keep; afterwards nothing acknowledged is missing or doubled."""
    server = ServerProcess(tmp_path / "data")
    with server:
        write, read = server.api_key("events:write"), server.api_key("events:read")
    acknowledged, stop = Acknowledged(), threading.Event()
    clients = [
        Client(number, (server.port,), write, acknowledged, stop, at_once=at_once)
        for number, at_once in enumerate((1, 1, 1, _AT_ONCE, _AT_ONCE, _AT_ONCE))
    ]
    chance = random.Random(7)
    server.start()
    for client in clients:
        client.start()
    try:
        for number in range(KILLS):
            time.sleep(chance.uniform(0.5, 2.0))
            children = server.children() if number % 2 else []
            server.kill()
            for child in children:  # every second time all of it, before the back can end in order
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            server.start()
        time.sleep(1)
    finally:
        stop.set()
        for client in clients:
            client.join()
    try:
        assert len(acknowledged.seqs) > 200
        events = check_everything(server, read, acknowledged)
        actors = {event["actor"]["id"] for event in events.values() if event["action"] == "load.tested"}  # type: ignore[index]
        assert actors == {str(number) for number in range(len(clients))}
    finally:
        server.stop()


def test_helpers_are_killed_and_stand_still(subject: Subject) -> None:
    """What prepares batches is killed or stopped again and again under load: others take its place, and nothing is lost."""
    server, chance, harmed = subject.server, random.Random(5), 0
    with subject.load():
        for number in range(HELPER_KILLS):
            time.sleep(chance.uniform(0.3, 1.0))
            for helper in set(server.children()) - {server.back()}:
                with suppress(ProcessLookupError):
                    os.kill(helper, signal.SIGSTOP if number % 4 == 3 else signal.SIGKILL)
                    harmed += 1
    assert harmed > 0
    assert len(subject.acknowledged.seqs) > 200
    subject.check()


def test_the_back_is_started_again(tmp_path: Path) -> None:
    """The back process is killed: the front goes on accepting, the back comes up again and search has everything."""
    with ServerProcess(tmp_path / "data") as server:
        write, read = server.api_key("events:write"), server.api_key("events:read")
        server.wait_for_search()
        for _ in range(3):
            for pid in server.children():
                os.kill(pid, signal.SIGKILL)
            status, _body = server.request(
                "POST",
                "/api/v1/events",
                b'{"action":"back.killed","actor":{"type":"test","id":"1"}}',
                {"Authorization": f"Bearer {write}", "Content-Type": "application/json"},
            )
            assert status == 201
            server.wait_for_search()
        assert len(server.api("/api/v1/events?action=back.killed", read)["data"]) == 3
