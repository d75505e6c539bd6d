"""A load generator for batches: one process, a few connections, everything made beforehand in portions."""

from __future__ import annotations

import http.client
import queue
import threading
import time
from collections.abc import Iterable

from benchmarks.events import Body


def send_batches(port: int, token: str, source: Iterable[Body], connections: int) -> None:
    """Send every body, so many at the same time. Raises on any refusal but "later"."""
    bodies: queue.Queue[bytes | None] = queue.Queue(maxsize=16)
    failures: list[str] = []
    threads = [threading.Thread(target=_send, args=(port, token, bodies, failures)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for body in source:
        if failures:
            break
        bodies.put(body.json)
    for _ in threads:
        bodies.put(None)
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])


def _send(port: int, token: str, bodies: queue.Queue[bytes | None], failures: list[str]) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while (body := bodies.get()) is not None:
        while True:
            connection.request("POST", "/api/v1/events", body, headers)
            response = connection.getresponse()
            content = response.read()
            if response.status != 503:
                break
            time.sleep(0.1)
        if response.status != 201:
            failures.append(
                f"{response.status}: {content[:300]!r}"
            )  # and go on, so that nobody waits for room in the queue
    connection.close()
