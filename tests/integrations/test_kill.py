"""The back process is killed in the middle of deliveries: every event still arrives, in order, at least once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.integrations.conftest import Received, Receiver
from tests.server import REPOSITORY, ServerProcess

_CONNECT = """
import django, sys
django.setup()
from opssentinal.events.model import Actor, Context
from opssentinal.integrations.services import create_webhook
made = create_webhook(actor=Actor(type="user", id="user_1"), context=Context(), name="SIEM", url=sys.argv[1],
                      query="action:order.placed", batch_events_max=5)
print(made.secret)
"""


def _connect(server: ServerProcess, receiver: Receiver) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _CONNECT, receiver.url],
        env=server.environment | {"DJANGO_SETTINGS_MODULE": "opssentinal.settings"},
        cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


def _send(server: ServerProcess, token: str, first: int, count: int) -> None:
    lines = [
        json.dumps({"action": "order.placed", "actor": {"type": "user", "id": "u"}, "metadata": {"number": number}})
        for number in range(first, first + count)
    ]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
    status, body = server.request("POST", "/api/v1/events", "\n".join(lines).encode(), headers)
    assert status == 201, body


def _numbers(receiver: Receiver) -> list[int]:
    return [event["metadata"]["number"] for request in receiver.received for event in request.payload["data"]["events"]]


def test_a_back_that_is_killed_again_and_again(tmp_path: Path, receiver: Receiver) -> None:
    """kill -9 while the receiver holds a request, with failures between: nothing is missing, out of order or unsigned."""
    server = ServerProcess(tmp_path / "data", OPSSENTINAL_OUTBOUND_ALLOW="127.0.0.0/8", OPSSENTINAL_DATABASE_URL="")
    killed: list[int] = []

    def kill_now_and_then(request: Received) -> tuple[int, dict[str, str], bytes] | None:
        if len(receiver.received) in (2, 5, 8):
            pids = server.children()
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            killed.extend(pids)
            return None  # the answer goes to nobody
        if len(receiver.received) == 7:
            return 500, {}, b""
        return None

    receiver.behave = kill_now_and_then
    with server:
        token = server.api_key("events:write")
        secret = _connect(server, receiver)
        for first in range(0, 40, 10):
            _send(server, token, first, 10)
        receiver.wait_for(lambda: 39 in _numbers(receiver), within_s=90)
        _send(server, token, 40, 3)
        receiver.wait_for(lambda: 42 in _numbers(receiver), within_s=90)
    assert len(killed) >= 3
    assert all(request.is_signed_with(secret) for request in receiver.received)
    once: dict[str, Received] = {}
    for request in receiver.received:
        assert once.setdefault(request.webhook_id, request).body == request.body
    assert len(once) < len(receiver.received)
    # Those who know webhook-ids have each event once, in order.
    in_order = [event["metadata"]["number"] for request in once.values() for event in request.payload["data"]["events"]]
    assert in_order == list(range(43))
    # Repetitions follow at once: nothing later comes in between.
    ids = [request.webhook_id for request in receiver.received]
    assert [each for place, each in enumerate(ids) if place == 0 or ids[place - 1] != each] == list(once)


def test_a_whole_server_that_is_killed(tmp_path: Path, receiver: Receiver) -> None:
    """Front and back die with a delivery on its way; started again, it goes on within seconds where it was."""
    server = ServerProcess(tmp_path / "data", OPSSENTINAL_OUTBOUND_ALLOW="127.0.0.0/8", OPSSENTINAL_DATABASE_URL="")

    killed = threading.Event()

    def kill(_: Received) -> None:
        receiver.behave = None
        for pid in server.children():
            os.kill(pid, signal.SIGKILL)
        server.kill()
        killed.set()

    receiver.behave = kill
    server.start()
    try:
        token = server.api_key("events:write")
        _connect(server, receiver)
        _send(server, token, 0, 3)
        assert killed.wait(60)
        server.start()
        receiver.wait_for(lambda: len(receiver.received) == 2)
    finally:
        server.stop()
    first, second = receiver.received
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
