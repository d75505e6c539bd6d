"""Clients who hang, flood or bomb: the others notice nothing, and the log stays whole."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import resource
import socket
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.crash.conftest import Subject

# How many connections hang at once; a long run asks for 10,000.
SLOW = int(os.environ.get("SLOW_CONNECTIONS", "2000"))
_MIB = 1 << 20


def _post(subject: Subject, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    sent = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    status, content = subject.server.request("POST", "/api/v1/events", body, sent)
    return status, json.loads(content)


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process hold as many sockets as it is to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SLOW + 200:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SLOW + 200), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_thousands_who_say_too_little(subject: Subject) -> None:
    """Thousands of connections with nothing, half a head or half a body hang, and everybody else is served at once."""
    server = subject.server
    beginnings = itertools.cycle(
        (
            b"",
            b"GET /insights/audit-logs/ HTTP/1.1\r\nHost: localh",
            b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + subject.key.encode()
            + b"\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
            + b'{"action":"half.sent","actor":{"type":"test","id":"1"}',
            b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\ncsrf",
        )
    )  # fmt: skip
    before = _resident_bytes(server.pid)
    slow = []
    try:
        for beginning in itertools.islice(beginnings, SLOW):
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            slow.append(sock)
            sock.sendall(beginning)
        times = []
        with subject.load(2):
            for _ in range(40):
                started = time.monotonic()
                assert server.get("/healthz")[0] == 200
                assert _post(subject, b'{"action":"slow.beside","actor":{"type":"test","id":"1"}}')[0] == 201
                times.append(time.monotonic() - started)
        assert statistics.median(times) < 1
        assert _resident_bytes(server.pid) - before < 100 * _MIB + SLOW * 50_000
    finally:
        for sock in slow:
            sock.close()
    events = subject.check()
    assert not [event for event in events.values() if event["action"] == "half.sent"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_not_unpacked(subject: Subject, encoding: str) -> None:
    """A body that unpacks to gigabytes is refused at the limit, before it takes memory of any process, also eight at a time."""
    bomb = gzip.compress(b" " * (64 * _MIB)) * 70 if encoding == "gzip" else _zstd_bomb()
    assert len(bomb) < 5 * _MIB
    assert _post(subject, gzip.compress(b"[{}]"), Content_Encoding="gzip")[0] == 207  # by whoever unpacks them
    pids = (subject.server.pid, *subject.server.children())
    most = before = sum(map(_resident_bytes, pids))
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(_post, subject, bomb, Content_Encoding=encoding) for _ in range(8)]
        while not all(answer.done() for answer in answers):
            most = max(most, sum(map(_resident_bytes, pids)))
            time.sleep(0.01)
    for answer in answers:
        status, problem = answer.result()
        assert (status, problem["code"]) == (413, "too_large")
    assert subject.server.children() == list(pids[1:])
    assert most - before < 150 * _MIB
    assert _post(subject, b'{"action":"bomb.survived","actor":{"type":"test","id":"1"}}')[0] == 201


def _zstd_bomb() -> bytes:
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    step = b" " * _MIB
    return b"".join(packer.compress(step) for _ in range(2048)) + packer.flush()


@pytest.mark.parametrize(
    "nested",
    [b"[" * 65_536, b'{"a":' * 13_107, b"[" * 32_768 + b"]" * 32_768, b'{"a":' * 10_900 + b"1" + b"}" * 10_900],
    ids=["lists, open", "objects, open", "lists", "objects"],
)
def test_nesting_without_end(subject: Subject, nested: bytes) -> None:
    """64 KiB of brackets, as the body, in metadata or in a change, is a bad request and nothing worse."""
    event = b'{"action":"deep.sent","actor":{"type":"test","id":"1"},%s}'
    for body in (
        nested,
        event % (b'"metadata":{"x":%s}' % nested),
        event % (b'"changes":[{"field":"x","after":%s}]' % nested),
    ):
        status, problem = _post(subject, body)
        assert status == 400, problem
        assert _post(subject, b"[%s]" % body)[0] in (207, 400)
    for address in ("/api/v1/events?q=" + "(" * 60_000, "/insights/audit-logs/?q=" + "(" * 60_000):
        assert subject.server.get(address, {"Authorization": f"Bearer {subject.key}"})[0] in (302, 400, 414)
