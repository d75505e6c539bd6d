"""What the crash tests share: a server, its keys, and clients that load it."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.crash.checks import check_everything
from tests.crash.clients import Acknowledged, Client
from tests.server import ServerProcess

_PATIENCE_S = 90


class Subject:
    """A server under test, a key for all of its API, and what it has acknowledged."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.key = server.api_key("events:write", "events:read", "exports:read", "exports:write")
        self.acknowledged = Acknowledged()

    def check(self) -> dict[int, dict[str, object]]:
        """See check_everything."""
        return check_everything(self.server, self.key, self.acknowledged)

    def export(self, action: str) -> dict[str, Any]:
        """Ask for a CSV file of all events with this action; return how it ended."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        body = json.dumps({"format": "csv", "filter": {"action": action}}).encode()
        status, answer = self.server.request("POST", "/api/v1/exports", body, headers)
        assert status == 202, answer
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            made: dict[str, Any] = self.server.api(f"/api/v1/exports/{json.loads(answer)['id']}", self.key)
            if made["status"] not in ("queued", "running"):
                return made
            assert time.monotonic() < deadline, made
            time.sleep(0.05)

    @contextmanager
    def load(self, clients: int = 4, *ports: int, rest_s: float = 0) -> Iterator[None]:
        """Clients send as fast as they can to this server, or each to one of these ports and what that one does not acknowledge
        to the next; at the end all is acknowledged. With `rest_s` each rests for so long after a batch."""
        stop = threading.Event()
        threads = []
        for number in range(clients):
            to = deque(ports or (self.server.port,))
            to.rotate(-number)
            threads.append(Client(number, to, self.key, self.acknowledged, stop, rest_s=rest_s))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A running server, one for all tests of a module: what each leaves behind is part of what the next one meets."""
    with ServerProcess(tmp_path_factory.mktemp("crash") / "data") as server:
        yield Subject(server)
