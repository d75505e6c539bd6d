"""Bounds on clients who take their time or come in crowds: real sockets, real servers."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from django.conf import settings

from opssentinal import connection, front
from tests.server import ServerProcess

Serve = Callable[[Any], int]
KEEP_ALIVE_S = 0.5


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve an ASGI application as `opssentinal serve` does and return its port."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: Any) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=connection.Connection,
                log_config=None,
                log_level="critical",
                lifespan="off",
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,  # type: ignore[arg-type]  # less than a second will do
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread))
        return int(listener.getsockname()[1])

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer anything with `hello`."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def received(sock: socket.socket) -> bytes:
    """Everything until the server closes."""
    parts = []
    while part := sock.recv(65_536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"],
    ids=["nothing", "half a line", "an empty line", "half a head", "half a second one"],
)
def test_a_head_that_does_not_come_ends_the_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Whoever connects and does not send the whole head of a request is not waited for."""
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.2)
    with socket.create_connection(("127.0.0.1", serve(hello)), timeout=10) as sock:
        sock.sendall(sent)
        assert received(sock).count(b"hello") == sent.count(b"\r\n\r\n")


def test_a_head_may_come_in_pieces(serve: Serve) -> None:
    """Two requests on one connection, each byte by byte, are answered."""
    with socket.create_connection(("127.0.0.1", serve(hello)), timeout=10) as sock:
        for _ in range(2):
            for byte in b"GET / HTTP/1.1\r\nHost: x\r\n\r\n":
                sock.sendall(bytes((byte,)))
            answer = b""
            while not answer.endswith(b"hello"):
                answer += sock.recv(4096)


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(serve: Serve) -> None:
    """Requests that come in time keep a connection open for as long as they like; then it ends by itself."""
    with socket.create_connection(("127.0.0.1", serve(hello)), timeout=10) as sock:
        for _ in range(5):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"hello"):
                answer += sock.recv(4096)
            answered = time.monotonic()
            time.sleep(KEEP_ALIVE_S / 2)
        assert received(sock) == b""
        assert KEEP_ALIVE_S * 0.9 < time.monotonic() - answered < KEEP_ALIVE_S * 10


def test_an_endless_head_is_refused(serve: Serve) -> None:
    """A head of more than 64 KiB is answered 400 while it is still being sent."""
    with socket.create_connection(("127.0.0.1", serve(hello)), timeout=10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nX: ")
        answer = b""
        try:
            for _ in range(100):
                sock.sendall(b"x" * 10_000)
            answer = received(sock)
        except (ConnectionResetError, BrokenPipeError):
            answer = b"HTTP/1.1 400 (reset before it could be read)"
        assert b" 400 " in answer.partition(b"\r\n")[0]


def test_pages_refuse_a_crowd_before_its_bodies(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    """Beyond the bound a request gets 503 and Retry-After while others still send their bodies; then pages go on."""
    monkeypatch.setattr(front, "PAGE_REQUESTS_PER_THREAD", 2)
    port = serve(front.Pages(1))
    head = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(2)]
    for sock in slow:
        sock.sendall(head)
        assert b" 100 " in sock.recv(4096)  # the body is being waited for
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(head)
        answer = received(sock)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in answer.lower()
    for sock in slow:
        sock.sendall(b"abc")
        assert b" 403 " in sock.recv(4096)  # Django's word: a form without its token
        sock.close()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert received(sock).startswith(b"HTTP/1.1 200 ")


def half(port: int, *headers: str, length: int = 9) -> socket.socket:
    """A request whose body does not come, and is being waited for."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    lines = ["POST /nothing HTTP/1.1", "Host: localhost", "Expect: 100-continue", f"Content-Length: {length}", *headers]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    assert sock.recv(4096).startswith(b"HTTP/1.1 100 ")
    return sock


def answer_to(port: int, request: str, *headers: str, body: bytes = b"") -> bytes:
    """All of the answer to a request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        head = "\r\n".join([f"{request} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""])
        sock.sendall(head.encode() + body)
        return received(sock)


def test_half_sent_requests_keep_nobody_out(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    """While as many bodies are being waited for as may be, pages and probes answer; only another body gets 503."""
    monkeypatch.setattr(front, "PAGE_REQUESTS_PER_THREAD", 3)
    port = serve(front.Pages(1))
    slow = [half(port) for _ in range(3)]
    for page in ("/nothing", "/healthz", "/readyz", "/accounts/login/"):
        assert answer_to(port, f"GET {page}").split()[1] in (b"200", b"302"), page
    assert b" 503 " in answer_to(port, "POST /nothing", "Content-Length: 3")
    for sock in slow:
        sock.close()


def test_probes_answer_in_a_crowd(serve: Serve, monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> None:
    """A probe is answered where every other request is refused, and waits for no body of its own."""
    monkeypatch.setattr(front, "PAGE_REQUESTS_PER_THREAD", 0)
    port = serve(front.Pages(1))
    assert answer_to(port, "GET /nothing").startswith(b"HTTP/1.1 503 ")
    for probe in ("/healthz", "/readyz"):
        assert answer_to(port, f"GET {probe}").startswith(b"HTTP/1.1 200 ")
        assert answer_to(port, f"GET {probe}", "Content-Length: 9").startswith(b"HTTP/1.1 200 ")


def test_one_client_sends_a_few_bodies_at_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    """Beyond its share a client gets 429 and others go on; without a trusted proxy, `X-Forwarded-For` makes nobody else."""
    monkeypatch.setattr(front, "PAGE_BODIES_PER_CLIENT_MAX", 2)
    port = serve(front.Pages(1))
    slow = [half(port) for _ in range(2)]
    refused = answer_to(port, "POST /nothing", "Content-Length: 3", "X-Forwarded-For: 203.0.113.9")
    assert refused.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 1" in refused.lower()
    assert answer_to(port, "GET /healthz").startswith(b"HTTP/1.1 200 ")
    slow.pop().close()
    deadline = time.monotonic() + 10
    while b" 429 " in answer_to(port, "POST /nothing", "Content-Length: 3", body=b"abc"):
        assert time.monotonic() < deadline
    slow.pop().close()


def test_clients_behind_a_trusted_proxy_are_told_apart(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    """Each address a trusted proxy names has its own share, and an IPv6 network of one host has one together."""
    monkeypatch.setattr(front, "PAGE_BODIES_PER_CLIENT_MAX", 1)
    monkeypatch.setitem(settings.CONFIG._values, "TRUSTED_PROXIES", (ip_network("127.0.0.0/8"),))
    port = serve(front.Pages(1))
    slow = [half(port, f"X-Forwarded-For: {client}") for client in ("203.0.113.9", "203.0.113.10", "2001:db8::1")]
    for client in ("203.0.113.9", "2001:db8::2"):
        answer = answer_to(port, "POST /nothing", "Content-Length: 3", f"X-Forwarded-For: {client}")
        assert answer.startswith(b"HTTP/1.1 429 "), client
    for sock in slow:
        sock.close()


def test_bodies_in_memory_are_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> None:
    """A body that is too long gets 413; one for which all the others leave no room 503, until they are gone."""
    monkeypatch.setattr(front, "PAGE_BODY_BYTES_MAX", 1000)
    monkeypatch.setattr(front, "PAGE_BODIES_BYTES_MAX", 1500)
    port = serve(front.Pages(1))
    assert b" 413 " in answer_to(port, "POST /nothing", "Content-Length: 1001", body=b"x" * 1001)
    slow = half(port, length=1000)
    slow.sendall(b"x" * 999)

    def status() -> bytes:
        return answer_to(port, "POST /nothing", "Content-Length: 600", body=b"x" * 600).split()[1]

    deadline = time.monotonic() + 10
    while status() != b"503":
        assert time.monotonic() < deadline
    slow.close()
    while status() == b"503":
        assert time.monotonic() < deadline


def test_an_answer_that_nobody_takes_frees_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that takes nothing more of its answer is given up, and the rest is thrown away without waiting."""
    monkeypatch.setattr(front, "PAGE_SEND_TIMEOUT_S", 0.05)
    taken: list[Any] = []

    async def send(message: Any) -> None:
        if len(taken) == 1:
            await asyncio.Event().wait()
        taken.append(message)

    async def answer() -> None:
        bounded = front._bounded(send)
        async with asyncio.timeout(10):
            for number in range(1000):
                await bounded({"number": number})

    # In a thread of its own: a browser of another test may have left its event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(answer())).result(30)
    assert taken == [{"number": 0}]


def test_more_connections_than_allowed_get_503(tmp_path: Path) -> None:
    """The server answers 503 while too many connections are open, and serves again when they are gone."""
    with ServerProcess(tmp_path / "data", OPSSENTINAL_MAX_CONNECTIONS="16") as server:
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(16)]
        assert server.get("/healthz")[0] == 503
        for sock in idle:
            sock.close()
        deadline = time.monotonic() + 20
        while server.get("/healthz")[0] != 200:
            assert time.monotonic() < deadline
