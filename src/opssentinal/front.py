"""Composition root of the front process: the ingest path beside Django, over one sequencer.

`POST /api/v1/events` is answered on the event loop, without Django, because that is where the load is. Everything else is
pages and API requests: Django over WSGI, in a bounded number of threads that keep their database connections.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import quote

import django

django.setup()

from a2wsgi import WSGIMiddleware
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from opssentinal.connection import Connection
from opssentinal.direct import Direct
from opssentinal.ingest.app import Head, IngestApp
from opssentinal.ledger.sequencer import Sequencer
from opssentinal.search.client import CancelScope, cancel_scope
from opssentinal.workspace.principals import client_address

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

INGEST_PATH = "/api/v1/events"
# What tells a supervisor how we are has to come through when nothing else does.
PROBE_PATHS = frozenset(("/healthz", "/readyz"))
# Forms and API requests other than batches of events, which the ingest path takes, are far smaller.
PAGE_BODY_BYTES_MAX = 1 << 20
# All bodies in memory together, those of requests that wait for a thread included; further ones get 503.
PAGE_BODIES_BYTES_MAX = 128 << 20
PAGE_BODY_TIMEOUT_S = 30
PAGE_SEND_TIMEOUT_S = 30
# Requests per thread: so many that have arrived and as many whose body is on its way; further ones get 503.
PAGE_REQUESTS_PER_THREAD = 64
# Bodies of one client that may be on their way at once; further ones get 429.
PAGE_BODIES_PER_CLIENT_MAX = 16
# A thread that holds the interpreter gives it up after this long, instead of 5 ms: the event loop and the sequencer hand
# over to each other with every commit.
SWITCH_INTERVAL_S = 0.0005

pages: Any = get_wsgi_application()


class Front:
    """The ASGI application. Starts the sequencer with the server and drains it when the server has stopped."""

    def __init__(self) -> None:
        self.sequencer = Sequencer(settings.CONFIG.queue_events_max)
        self._ingest = IngestApp(self.sequencer)
        self._direct = Direct(b"POST", INGEST_PATH.encode(), Head.of, self._ingest.take)
        self._pages = Pages(settings.CONFIG.page_threads)

    def connection(self, **uvicorns: Any) -> Connection:
        """Make what speaks HTTP with one client."""
        return Connection(direct=self._direct, **uvicorns)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"] == INGEST_PATH and scope["method"] == "POST":
                await self._ingest(scope, receive, send)
            else:
                await self._pages(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        # What start-up made stays for good; collecting it again and again only costs.
        gc.collect()
        gc.freeze()
        # Decoding a batch makes tens of thousands of objects that nothing can lead back to; looking for circles after every
        # few hundred of them took longer than the decoding.
        gc.set_threshold(50_000, 10, 100)
        self.sequencer.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._ingest.drain()
        await asyncio.to_thread(self.sequencer.stop)
        self._ingest.close()
        await send({"type": "lifespan.shutdown.complete"})


class Pages:
    """Django in threads, for requests that have arrived whole.

    The body is read before a thread is taken, so a client that sends half of one and waits holds no thread; nor does one
    that takes no more of its answer. A client that goes away cancels the queries its request is waiting for. At most
    PAGE_REQUESTS_PER_THREAD requests per thread are worked on or wait for that; those whose body is on its way are counted
    apart (`Bodies`), so that nobody who only waits keeps out those who ask. The probes have a thread of their own, wait
    for no body and are always let in.
    """

    def __init__(self, threads: int) -> None:
        self._wsgi: Any = WSGIMiddleware(pages, workers=threads)
        self._probes: Any = WSGIMiddleware(pages, workers=1)
        self._requests_max = PAGE_REQUESTS_PER_THREAD * threads
        self._requests = 0
        self._bodies = Bodies(self._requests_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in PROBE_PATHS and scope["method"] in ("GET", "HEAD"):
            await _answer(self._probes, scope, b"", receive, send)
            return
        try:
            async with self._bodies.body_of(scope, receive) as body:
                if body is not None:
                    await self._answer(scope, body, receive, send)
        except _Refusal as refusal:
            await _refuse(send, refusal)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        if self._requests >= self._requests_max:
            raise _Refusal(503, "Too many requests are waiting. Try again.")
        self._requests += 1
        try:
            await _answer(self._wsgi, scope, body, receive, send)
        finally:
            self._requests -= 1


class Bodies:
    """The bodies of requests that are on their way or waiting for a thread, within bounds for one client and for all.

    One is PAGE_BODY_BYTES_MAX long at most, all together PAGE_BODIES_BYTES_MAX. At most `senders_max` are on their way,
    PAGE_BODIES_PER_CLIENT_MAX of one client.
    """

    def __init__(self, senders_max: int) -> None:
        self._senders_max = senders_max
        self._senders: Counter[str] = Counter()
        self._bytes = 0

    @asynccontextmanager
    async def body_of(self, scope: Scope, receive: Receive) -> AsyncIterator[bytes | None]:
        """The whole body of a request, held until the end of the block; None where the client left before it was complete.

        Raises _Refusal where a bound is met.
        """
        parts: list[bytes] = []
        try:
            is_whole = True
            if _announces_body(scope):
                with self._sending(_client(scope)):
                    is_whole = await self._receive(receive, parts)
            yield b"".join(parts) if is_whole else None
        finally:
            self._bytes -= sum(map(len, parts))

    @contextmanager
    def _sending(self, client: str) -> Iterator[None]:
        if self._senders.total() >= self._senders_max:
            raise _Refusal(503, "Too many requests are waiting. Try again.")
        if self._senders[client] >= PAGE_BODIES_PER_CLIENT_MAX:
            raise _Refusal(429, "Too many requests of yours are still being sent. Try again.")
        self._senders[client] += 1
        try:
            yield
        finally:
            self._senders[client] -= 1
            if not self._senders[client]:
                del self._senders[client]

    async def _receive(self, receive: Receive, parts: list[bytes]) -> bool:
        """Fill `parts`; False where the client left."""
        size = 0
        try:
            async with asyncio.timeout(PAGE_BODY_TIMEOUT_S):
                while (message := await receive())["type"] != "http.disconnect":
                    parts.append(part := message.get("body", b""))
                    size += len(part)
                    self._bytes += len(part)
                    if size > PAGE_BODY_BYTES_MAX:
                        raise _Refusal(413, "The request is too large.")
                    if self._bytes > PAGE_BODIES_BYTES_MAX:
                        raise _Refusal(503, "Too many requests are waiting. Try again.")
                    if not message.get("more_body", False):
                        return True
        except TimeoutError:
            raise _Refusal(408, "The request took too long to arrive.") from None
        return False


class _Refusal(Exception):
    """Why a request is not even shown to Django."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def _announces_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def _client(scope: Scope) -> str:
    """Whom to count a request for: an IPv4 address, or the /64 of an IPv6 one, which is what a single host is given."""
    peer = scope["client"][0] if scope.get("client") else ""
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    address = client_address(peer, forwarded)[0]
    if address is not None and isinstance(ip_address(address), IPv6Address):
        return str(ip_network((address.partition("%")[0], 64), strict=False))
    return address or peer


async def _answer(wsgi: Any, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    if not scope["query_string"].isascii():
        scope["query_string"] = quote(scope["query_string"], safe="%=&+;/?:@!$'()*,-._~").encode()
    cancelling = CancelScope()
    token = cancel_scope.set(cancelling)
    watcher = asyncio.create_task(_cancel_on_disconnect(receive, cancelling))
    try:
        await wsgi(scope, _replay(body), _bounded(send))
    finally:
        cancel_scope.reset(token)
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


def _bounded(send: Send) -> Send:
    """Give up on a client that takes nothing of its answer for PAGE_SEND_TIMEOUT_S seconds.

    The rest is thrown away instead of raising, because the thread that makes it waits until somebody takes it; uvicorn
    closes a connection whose answer ends before its time.
    """
    has_given_up = False

    async def bounded(message: Message) -> None:
        nonlocal has_given_up
        if has_given_up:
            return
        try:
            async with asyncio.timeout(PAGE_SEND_TIMEOUT_S):
                await send(message)
        except TimeoutError:
            has_given_up = True

    return bounded


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _cancel_on_disconnect(receive: Receive, cancelling: CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    cancelling.cancel()


async def _refuse(send: Send, refusal: _Refusal) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    if refusal.status in (429, 503):
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.reason.encode()})
