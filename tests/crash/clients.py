"""Clients that send under load and never give up: each event has an id, and is sent again until it is acknowledged."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Acknowledged:
    """What the server said is recorded: id → seq; how many receipts came from which port, and of which status; and what it said
    where it could not record."""

    seqs: dict[str, int] = field(default_factory=dict)
    by_port: Counter[int] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
    contradictions: list[str] = field(default_factory=list)
    unavailable: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, results: list[dict[str, object]], port: int = 0) -> None:
        """Keep the receipts; a receipt that contradicts an earlier one is a broken promise."""
        with self.lock:
            self.by_port[port] += len(results)
            for result in results:
                self.by_status[str(result["status"])] += 1
                if result["status"] not in ("accepted", "duplicate"):
                    self.contradictions.append(f"unexpected {result}")
                    continue
                id_, seq = str(result["id"]), int(str(result["seq"]))
                if self.seqs.setdefault(id_, seq) != seq:
                    self.contradictions.append(f"{id_} was at seq {self.seqs[id_]} and is now at {seq}")


class Client(threading.Thread):
    """Sends batches of 1 to 300 events, some of which other processes prepare, until told to stop, and then until its last batch
    is acknowledged. What one server does not acknowledge goes to the next of `ports`.

    Between two batches it rests for `rest_s`: what is sent is read and compared at the end.
    """

    def __init__(
        self,
        number: int,
        ports: Sequence[int],
        token: str,
        acknowledged: Acknowledged,
        stop: threading.Event,
        rest_s: float = 0,
    ) -> None:
        super().__init__(name=f"client-{number}")
        self._random = random.Random(number)
        self._number, self._token = number, token
        self._ports = deque(ports)
        self._acknowledged, self._stopping, self._rest_s = acknowledged, stop, rest_s

    def run(self) -> None:
        """Send until stopped. Gives up on a batch after two minutes, which fails the test."""
        sent = 0
        while not self._stopping.is_set():
            events = [self._event(sent + n) for n in range(self._random.choice((1, 1, 3, 20, 300)))]
            sent += len(events)
            self._send_until_acknowledged(json.dumps(events).encode())
            self._stopping.wait(self._rest_s)

    def _event(self, n: int) -> dict[str, object]:
        return {
            "id": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "action": "load.tested",
            "actor": {"type": "client", "id": str(self._number)},
            "metadata": {"n": n},
        }

    def _send_until_acknowledged(self, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            connection = http.client.HTTPConnection("127.0.0.1", port := self._ports[0], timeout=30)
            try:
                connection.request("POST", "/api/v1/events", body, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException):
                self._ports.rotate(-1)
                time.sleep(0.02)
                continue
            finally:
                connection.close()
            if response.status in (201, 207):
                self._acknowledged.add(json.loads(content)["results"], port)
                return
            if response.status not in (429, 503):
                self._acknowledged.contradictions.append(f"{response.status}: {content[:200]!r}")
                return
            if response.status == 503:
                self._acknowledged.unavailable.append(content)
            self._ports.rotate(-1)
            time.sleep(0.05)
        self._acknowledged.contradictions.append("a batch was not acknowledged within two minutes")
