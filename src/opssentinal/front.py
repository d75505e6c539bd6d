"""Composition root of the front process: the ingest path beside Django, over one sequencer.

`POST /api/v1/events` is answered on the event loop, without Django, because that is where the load is. Everything else is
pages and API requests: Django over WSGI, in a bounded number of threads that keep their database connections.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import django

django.setup()

from a2wsgi import WSGIMiddleware
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from opssentinal.ingest.app import IngestApp
from opssentinal.ledger.sequencer import Sequencer
from opssentinal.search.client import CancelScope, cancel_scope

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

INGEST_PATH = "/api/v1/events"
PAGE_BODY_BYTES_MAX = 6 << 20
PAGE_BODY_TIMEOUT_S = 30
PAGE_SEND_TIMEOUT_S = 30
# Requests under way per thread, those that wait for one or for their body included; further ones get 503.
PAGE_REQUESTS_PER_THREAD = 64
# A thread that holds the interpreter gives it up after this long, instead of 5 ms: the event loop and the sequencer hand
# over to each other with every commit.
SWITCH_INTERVAL_S = 0.0005

pages: Any = get_wsgi_application()


class Front:
    """The ASGI application. Starts the sequencer with the server and drains it when the server has stopped."""

    def __init__(self) -> None:
        self.sequencer = Sequencer(settings.CONFIG.queue_events_max)
        self._ingest = IngestApp(self.sequencer)
        self._pages = Pages(settings.CONFIG.page_threads)

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
        await asyncio.to_thread(self.sequencer.stop)
        self._ingest.close()
        await send({"type": "lifespan.shutdown.complete"})


class Pages:
    """Django in threads, for requests that have arrived whole.

    The body is read before a thread is taken, so a client that sends half of one and waits holds no thread; nor does one
    that takes no more of its answer. A client that goes away cancels the queries its request is waiting for. At most
    PAGE_REQUESTS_PER_THREAD requests per thread are under way: further ones are refused before their body is read.
    """

    def __init__(self, threads: int) -> None:
        self._wsgi: Any = WSGIMiddleware(pages, workers=threads)
        self._requests_max = PAGE_REQUESTS_PER_THREAD * threads
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._requests >= self._requests_max:
            await _refuse(send, 503, "Too many requests are waiting. Try again.", (b"retry-after", b"1"))
            return
        self._requests += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self._requests -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await asyncio.wait_for(_read_body(receive), PAGE_BODY_TIMEOUT_S)
        except TimeoutError:
            await _refuse(send, 408, "The request took too long to arrive.")
            return
        if body is None:
            return
        if len(body) > PAGE_BODY_BYTES_MAX:
            await _refuse(send, 413, "The request is too large.")
            return
        if not scope["query_string"].isascii():
            scope["query_string"] = quote(scope["query_string"], safe="%=&+;/?:@!$'()*,-._~").encode()
        cancelling = CancelScope()
        token = cancel_scope.set(cancelling)
        watcher = asyncio.create_task(_cancel_on_disconnect(receive, cancelling))
        try:
            await self._wsgi(scope, _replay(body), _bounded(send))
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


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, or one byte more than allowed; None where the client left before it was complete."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body", False) or size > PAGE_BODY_BYTES_MAX:
            return b"".join(parts)


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _cancel_on_disconnect(receive: Receive, cancelling: CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    cancelling.cancel()


async def _refuse(send: Send, status: int, reason: str, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close"), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
