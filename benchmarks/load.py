"""A load generator for batches: one process, a few connections, everything made beforehand in portions."""

from __future__ import annotations

import http.client
import queue
import threading
import time

from benchmarks.events import synthetic_bodies

_CONNECTIONS = 4


def send_batches(port: int, token: str, count: int, batch: int) -> int:
    """Send `count` events in batches; return the bytes sent. Raises on any refusal but "later"."""
    bodies: queue.Queue[bytes | None] = queue.Queue(maxsize=16)
    failures: list[str] = []
    threads = [threading.Thread(target=_send, args=(port, token, bodies, failures)) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    sent_bytes = 0
    for body in synthetic_bodies(count, batch):
        if failures:
            break
        sent_bytes += len(body)
        bodies.put(body)
    for _ in threads:
        bodies.put(None)
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return sent_bytes


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
            failures.append(f"{response.status}: {content[:300]!r}")
            return
    connection.close()
