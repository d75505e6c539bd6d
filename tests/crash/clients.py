"""Clients that send under load and never give up: each event has an id, and is sent again until it is acknowledged.

They speak HTTP/1.1 over plain sockets, since they keep their connection and send requests before they have the answers to
those before: what is answered, and what has to be sent again, is then told by the order alone.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple


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


class Batch(NamedTuple):
    """Events that are one request: their ids, and its body."""

    ids: list[str]
    body: bytes


class Connection:
    """A connection that is kept. Requests may be sent before the answers to others are read, which come in their order.

    Every method raises OSError or HTTPException where the connection is of no use any more.
    """

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self._head = (
            f"POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: keep-alive\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        ).encode()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._answers = self._socket.makefile("rb")

    def send(self, batch: Batch) -> None:
        """Send a request, head and body in one piece."""
        self._socket.sendall(self._head % len(batch.body) + batch.body)

    def read(self) -> tuple[int, bytes]:
        """Read the next answer, whole; return the status and the content."""
        words = self._answers.readline().split()
        if len(words) < 2:
            raise ConnectionError("there is no answer")
        length = http.client.parse_headers(self._answers)["Content-Length"]
        content = self._answers.read(None if length is None else int(length))
        if length is not None and len(content) < int(length):
            raise ConnectionError("a part of the answer is missing")
        return int(words[1]), content

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._socket.close()


class Client(threading.Thread):
    """Sends batches of 1 to 300 events, some of which other processes prepare, until told to stop, and then until its last batches
    are acknowledged. It keeps its connection, and sends `at_once` requests before it reads their answers; small ones that are
    alone go the direct way. What one server does not acknowledge goes to the next of `ports`.

    After the answers it rests for `rest_s`: what is sent is read and compared at the end.
    """

    def __init__(
        self,
        number: int,
        ports: Sequence[int],
        token: str,
        acknowledged: Acknowledged,
        stop: threading.Event,
        *,
        rest_s: float = 0,
        at_once: int = 1,
    ) -> None:
        super().__init__(name=f"client-{number}")
        self._random = random.Random(number)
        self._number, self._token = number, token
        self._ports = deque(ports)
        self._acknowledged, self._stopping = acknowledged, stop
        self._rest_s, self._at_once = rest_s, at_once
        self._connection: Connection | None = None
        self._sent = 0

    def run(self) -> None:
        """Send until stopped. Gives up on batches after two minutes, which fails the test."""
        while not self._stopping.is_set():
            self._send_until_acknowledged([self._batch() for _ in range(self._at_once)])
            self._stopping.wait(self._rest_s)
        self._hang_up()

    def _batch(self) -> Batch:
        events = [self._event(self._sent + n) for n in range(self._random.choice((1, 1, 3, 20, 300)))]
        self._sent += len(events)
        return Batch([str(event["id"]) for event in events], json.dumps(events).encode())

    def _event(self, n: int) -> dict[str, object]:
        return {
            "id": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "action": "load.tested",
            "actor": {"type": "client", "id": str(self._number)},
            "metadata": {"n": n},
        }

    def _send_until_acknowledged(self, batches: list[Batch]) -> None:
        """What is unanswered when the connection dies, or refused for now, is sent again as it is."""
        deadline = time.monotonic() + 120
        while batches:
            if time.monotonic() > deadline:
                self._acknowledged.contradictions.append("a batch was not acknowledged within two minutes")
                return
            left = batches.copy()
            try:
                self._exchange(left)
            except (OSError, http.client.HTTPException):
                self._hang_up()
                self._ports.rotate(-1)
                time.sleep(0.02)
            else:
                if left:
                    self._ports.rotate(-1)
                    time.sleep(0.05)
            batches = left

    def _exchange(self, batches: list[Batch]) -> None:
        """Send all, then read the answers; those that need not be sent again leave `batches`, also where this ends in an error."""
        port = self._ports[0]
        if self._connection is not None and self._connection.port != port:
            self._hang_up()
        if self._connection is None:
            self._connection = Connection(port, self._token)
        sent = batches.copy()
        for batch in sent:
            self._connection.send(batch)
        for batch in sent:
            if self._is_settled(batch, *self._connection.read()):
                batches.remove(batch)

    def _is_settled(self, batch: Batch, status: int, content: bytes) -> bool:
        """Take down what the answer to a batch says; whether the batch need not be sent again."""
        if status in (429, 503):
            if status == 503:
                self._acknowledged.unavailable.append(content)
            return False
        if status not in (201, 207):
            self._acknowledged.contradictions.append(f"{status}: {content[:200]!r}")
            return True
        results = json.loads(content)["results"]
        if [result.get("id") for result in results] != batch.ids:
            self._acknowledged.contradictions.append(
                f"{batch.ids[:3]}… got the answer to another request: {results[:3]}"
            )
        self._acknowledged.add(results, self._ports[0])
        return True

    def _hang_up(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
            self._connection = None
