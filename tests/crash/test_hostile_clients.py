"""Clients who hang, flood, bomb or send every byte there is: the others notice nothing, and the log stays whole."""

from __future__ import annotations

import csv
import gzip
import io
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


# Every field of an event that takes free text: how to build one event with a text in it, and how to read it back.
_TEXTS: dict[str, Any] = {
    "actor.type": lambda text: {"actor": {"type": text, "id": "1"}},
    "actor.id": lambda text: {"actor": {"type": "test", "id": text}},
    "actor.name": lambda text: {"actor": {"type": "test", "id": "1", "name": text}},
    "actor.email": lambda text: {"actor": {"type": "test", "id": "1", "email": text}},
    "targets.0.type": lambda text: {"targets": [{"type": text, "id": "1"}]},
    "targets.0.id": lambda text: {"targets": [{"type": "test", "id": text}]},
    "targets.0.name": lambda text: {"targets": [{"type": "test", "id": "1", "name": text}]},
    "targets.0.email": lambda text: {"targets": [{"type": "test", "id": "1", "email": text}]},
    "context.user_agent": lambda text: {"context": {"user_agent": text}},
    "context.session_id": lambda text: {"context": {"session_id": text}},
    "context.request_id": lambda text: {"context": {"request_id": text}},
    "context.forwarded_for.0": lambda text: {"context": {"forwarded_for": [text]}},
    "changes.0.field": lambda text: {"changes": [{"field": text, "after": 1}]},
    "changes.0.after": lambda text: {"changes": [{"field": "x", "after": text}]},
    "metadata.key": lambda text: {"metadata": {"key": text}},
    "message": lambda text: {"message": text},
    "tenant": lambda text: {"tenant": text},
}
# Fields that take no free text: what is not of their form is refused and never stored.
_FORMS = ("action", "outcome", "source", "context.ip", "id", "occurred_at")


def test_every_byte_value_in_every_field(subject: Subject) -> None:
    """Each of 256 values, raw and as an escape, in each field: kept to the letter, in search too, or refused."""
    kept: dict[int, tuple[str, str]] = {}
    for path, build in _TEXTS.items():
        texts = [f"a{chr(value)}b" for value in range(256)] + ["\U0001f600", "\u202e", "\ufeff", "\uffff"]
        events = [{"action": "byte.sent", "actor": {"type": "test", "id": "1"}} | build(text) for text in texts]
        status, answer = _post(subject, json.dumps(events).encode())
        assert status in (201, 207), answer
        for text, result in zip(texts, answer["results"], strict=True):
            if result["status"] == "accepted":
                kept[result["seq"]] = (path, text)
            else:
                assert result["status"] == "rejected", result
        for value in range(128, 256):  # not UTF-8, wherever it stands
            body = json.dumps(events[0]).encode().replace(b"a\\u0000b", b"a%cb" % value)
            status, answer = _post(subject, body)
            assert (status, answer["results"][0]["status"]) == (207, "rejected")
    for path in _FORMS:
        for value in range(256):
            changes: dict[str, Any] = (
                {path: f"a.b{chr(value)}"} if "." not in path else {"context": {"ip": f"::{chr(value)}"}}
            )
            status, answer = _post(
                subject, json.dumps({"action": "form.sent", "actor": {"type": "test", "id": "1"}} | changes).encode()
            )
            assert status in (201, 207), answer
    assert len(kept) >= 17 * 200
    events = subject.check()  # every event of search is the event of the ledger
    for seq, (path, text) in kept.items():
        assert _at(events[seq], path) == text
    _check_csv(subject, set(kept))


def _at(event: Any, path: str) -> Any:
    for step in path.split("."):
        event = event[int(step)] if step.isdigit() else event[step]
    return event


def _check_csv(subject: Subject, seqs: set[int]) -> None:
    """The export is one well-formed row per event, whatever is in its cells, and none begins like a formula."""
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
    asked = json.dumps({"format": "csv", "filter": {"action": "byte.sent"}}).encode()
    status, answer = subject.server.request("POST", "/api/v1/exports", asked, headers)
    assert status == 202
    address = f"/api/v1/exports/{json.loads(answer)['id']}"
    deadline = time.monotonic() + 30
    while subject.server.api(address, subject.key)["status"] != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    status, content = subject.server.get(f"{address}/file", headers)
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))
    assert {int(row["seq"]) for row in rows} == seqs
    assert not [cell for row in rows for cell in row.values() if cell.startswith(tuple("=+-@\t\r\n\0"))]
