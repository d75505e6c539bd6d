"""kill -9 at random moments under load: every acknowledged event is there once, and search agrees with the ledger."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

from tests.crash.clients import Acknowledged, Client
from tests.server import ServerProcess

# How many times the server is killed; OPSSENTINAL_KILLS in the shell asks for more, as a long run does.
KILLS = int(os.environ.get("KILLS", "4"))


def test_acknowledged_events_survive(tmp_path: Path) -> None:
    """The server is killed again and again while clients send; afterwards nothing acknowledged is missing or doubled."""
    server = ServerProcess(tmp_path / "data")
    with server:
        write, read = server.api_key("events:write"), server.api_key("events:read")
    acknowledged, stop = Acknowledged(), threading.Event()
    clients = [Client(number, server.port, write, acknowledged, stop) for number in range(6)]
    chance = random.Random(7)
    server.start()
    for client in clients:
        client.start()
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.5, 2.0))
            server.kill()
            server.start()
        time.sleep(1)
    finally:
        stop.set()
        for client in clients:
            client.join()
    try:
        assert acknowledged.contradictions == []
        assert len(acknowledged.seqs) > 200
        server.wait_for_search()
        searched, recorded = _searched(server, read), _recorded(server)
        for id_, seq in acknowledged.seqs.items():
            assert recorded[seq]["id"] == id_
        ids = [event["id"] for event in recorded.values()]
        assert len(ids) == len(set(ids))
        assert searched == recorded
    finally:
        server.stop()
    assert json.loads(server.command("fsck", "--json").stdout)["problems"] == []


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


def _recorded(server: ServerProcess) -> dict[int, dict[str, object]]:
    """Every event as `opssentinal tail` reads it from the ledger, by seq; they must be gapless."""
    lines = server.command("tail", "--limit", "1000000", "--json").stdout.splitlines()
    events = {event["seq"]: event for event in map(json.loads, lines)}
    assert sorted(events) == list(range(len(events)))
    return events


def _searched(server: ServerProcess, token: str) -> dict[int, dict[str, object]]:
    """Every event as search gives it, page by page, by seq; none may come twice."""
    found: dict[int, dict[str, object]] = {}
    cursor = ""
    while True:
        page = server.api(f"/api/v1/events?limit=1000{cursor}", token)
        assert not {event["seq"] for event in page["data"]} & found.keys()
        found |= {event["seq"]: event for event in page["data"]}
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"
