"""A load generator for batches: one process, a few connections, everything made beforehand in portions.

It shares the processor with what it measures, so it speaks HTTP by itself: with a batch of a hundred, the standard library's
client would cost more than the making of the events.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterable
from typing import BinaryIO

from benchmarks.events import Body


def send_batches(port: int, token: str, source: Iterable[Body], connections: int) -> None:
    """Send every body, so many at the same time. Raises on any refusal but "later"."""
    bodies: queue.Queue[bytes | None] = queue.Queue(maxsize=16)
    failures: list[Exception] = []
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
        raise failures[0]


def _send(port: int, token: str, bodies: queue.Queue[bytes | None], failures: list[Exception]) -> None:
    head = (
        f"POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()
    body = bodies.get()
    while body is not None:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=120) as connection,
                connection.makefile("rb") as answers,
            ):
                while body is not None:
                    connection.sendall(b"%b%d\r\n\r\n%b" % (head, len(body), body))
                    status, content = _answer(answers)
                    if status == 503:
                        time.sleep(0.1)
                        break  # the server may close a connection after this answer
                    if status != 201:
                        raise RuntimeError(f"{status}: {content[:300]!r}")
                    body = bodies.get()
        except Exception as error:  # noqa: BLE001 - raised by send_batches
            failures.append(error)
            body = bodies.get()  # and go on, so that nobody waits for room in the queue


def _answer(answers: BinaryIO) -> tuple[int, bytes]:
    """The next answer's status and content. Raises if there is none."""
    line = answers.readline()
    if not line:
        raise ConnectionError("The server closed the connection instead of answering.")
    length = -1  # without a length, all until the connection ends
    while header := answers.readline().rstrip():
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return int(line.split()[1]), answers.read(length)
