"""A load generator for batches: one process, a few connections, everything made beforehand in portions."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from itertools import islice

from benchmarks.events import synthetic_events

_CONNECTIONS = 4


def send_batches(port: int, token: str, count: int, batch: int) -> tuple[float, int]:
    """Send `count` events in batches; return the seconds spent making them and the bytes sent. Raises on any refusal."""
    bodies: queue.Queue[bytes | None] = queue.Queue(maxsize=16)
    failures: list[str] = []
    threads = [threading.Thread(target=_send, args=(port, token, bodies, failures)) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    events = synthetic_events(count)
    making_s, sent_bytes = 0.0, 0
    while not failures:
        started = time.perf_counter()
        portion = list(islice(events, batch))
        body = json.dumps(portion, separators=(",", ":")).encode()
        making_s += time.perf_counter() - started
        if not portion:
            break
        sent_bytes += len(body)
        bodies.put(body)
    for _ in threads:
        bodies.put(None)
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return making_s, sent_bytes


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
