"""The ASGI application of POST /api/v1/events: the fast path from a program's request to the ledger.

It stands in front of Django, because a request costs less here than Django's middleware alone. A 201 or 207 is sent when
the commit has returned, so whatever it calls accepted or duplicate is on disk. What a client sends by halves before it
goes is never looked at; what it has sent whole is recorded even if it does not wait for the answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import getrandbits
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connections

from opssentinal.apikeys.authentication import (
    authenticate,
    authenticate_cached,
    bearer_token,
    is_use_noted,
    note_use,
)
from opssentinal.apikeys.denial import record_denial
from opssentinal.apikeys.principal import EVENTS_WRITE, KeyPrincipal
from opssentinal.apikeys.rate import RateLimit
from opssentinal.apikeys.token import digest
from opssentinal.direct import Answer, Header
from opssentinal.errors import Forbidden, OpsSentinalError, Overloaded, Unauthenticated, Unavailable
from opssentinal.events.model import Context
from opssentinal.formats.problem import PROBLEM_TYPE, problem_json, retry_after_s
from opssentinal.ingest.body import BODY_BYTES_MAX, split, too_large
from opssentinal.ingest.gathering import Gathering, Outcome, Submits
from opssentinal.ingest.operation import Submission
from opssentinal.ingest.preparation import Preparers
from opssentinal.ledger.receipts import Receipt
from opssentinal.workspace.principals import agent_named, client_address

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = dict[bytes, bytes]
T = TypeVar("T")

# Bodies over this are decoded in another process: handing them over costs less, and no batch holds up the loop for all.
_INLINE_BYTES_MAX = 16 * 1024
BODY_TIMEOUT_S = 30
# Of all requests together, from their first byte until their answer; further ones get 503. The helpers hold as much again.
BODIES_BYTES_MAX = 64 * 1024 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=:-]{1,128}", re.ASCII)
log = logging.getLogger(__name__)


class TooSlow(OpsSentinalError):
    """The body did not arrive in time; nothing of it was kept."""

    code = "request_timeout"
    title = "Request timeout"
    status = 408


class Head(NamedTuple):
    """What the direct way needs of a request's head, and nothing that the next request with the same head may not have too."""

    token: str
    token_digest: str
    content_type: str
    is_encoded: bool
    request_id: str  # as sent, "" where there is none

    @classmethod
    def of(cls, sent: Sequence[Header]) -> Head:
        """Read the fields of a head. Never raises."""
        headers: Headers = dict(sent)
        try:
            token = bearer_token(headers.get(b"authorization", b"").decode("latin-1"))
        except Unauthenticated:
            token = ""
        kind, encoding = _form(headers)
        return cls(token, digest(token), kind, bool(encoding), headers.get(b"x-request-id", b"").decode("latin-1"))


class IngestApp:
    """Serves every HTTP request it is given as POST /api/v1/events; routing is the caller's.

    There are two ways in. Called over ASGI it takes any request. `take` costs far less and takes most of them: whole,
    small ones, whose key is known. Both answer alike, and what is small is gathered either way.
    `limit` counts events per key and minute; by default as INGEST_EVENTS_PER_MINUTE says. Call `close()` when no request
    can come any more.
    """

    def __init__(self, sequencer: Submits, limit: RateLimit | None = None) -> None:
        self._sequencer = sequencer
        self._limit = limit or RateLimit("events", settings.CONFIG.ingest_events_per_minute)
        self._policy = self._limit.policy.encode()
        self._bodies_bytes = 0
        self._gathering = Gathering(sequencer)
        # Key look-ups, and what is written about keys: one thread keeps one database connection, and both are rare.
        self._look_ups = ThreadPoolExecutor(1, thread_name_prefix="ingest-keys")
        self._preparers = Preparers(settings.CONFIG.ingest_processes)

    async def drain(self) -> None:
        """Return when all that small requests have brought is recorded or refused, also of clients who have gone."""
        await self._gathering.drain()

    def close(self) -> None:
        """End what prepares batches, and the thread of the key look-ups with its database connection."""
        self._preparers.close()
        self._look_ups.submit(connections.close_all)
        self._look_ups.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: Headers = dict(scope["headers"])
        reply = _Reply(headers.get(b"x-request-id", b"").decode("latin-1"))
        parts: list[bytes] = []
        try:
            principal = await self._principal(scope, headers)
            if not await self._has_come(headers, receive, parts):
                return  # the client has gone; half a body is no body
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            if len(body) <= _INLINE_BYTES_MAX and b"content-encoding" not in headers:
                outcome = await self._gathered(principal, _form(headers)[0], body, reply)
            else:
                submission = await self._preparers.submission(principal, body, *_form(headers))
                self._spend(principal, len(submission), reply)
                outcome = submission, await self._receipts(submission)
            status, extra, content = reply.of(outcome)
        except Exception as error:  # noqa: BLE001 - logged where it becomes an answer, here and below
            status, extra, content = reply.of(error)
        finally:
            self._bodies_bytes -= sum(map(len, parts))
        await send({"type": "http.response.start", "status": status, "headers": extra})
        await send({"type": "http.response.body", "body": content})

    def take(self, head: Head, body: bytes, answer: Answer) -> bool:
        """Answer a request that has come whole, with one call of `answer`, now or later; False if that is not for here.

        It is where nothing has to be waited for but the commit: the body is small, and the key was looked up lately, is not
        bound to networks and may send events. Neither blocks nor raises; call it on the loop.
        """
        if head.is_encoded or len(body) > _INLINE_BYTES_MAX:
            return False
        reply = _Reply(head.request_id)

        def settle(outcome: Outcome) -> None:
            self._bodies_bytes -= len(body)
            answer(*reply.of(outcome))

        try:
            principal = _principal_at_hand(head)
            if principal is None:
                return False
            if self._bodies_bytes + len(body) > BODIES_BYTES_MAX:
                raise _too_many()
            self._gather(principal, head.content_type, body, reply, settle)
            self._bodies_bytes += len(body)
        except Exception as error:  # noqa: BLE001
            answer(*reply.of(error))
        return True

    async def _has_come(self, headers: Headers, receive: Receive, parts: list[bytes]) -> bool:
        """Whether the client has sent the whole body, which is received into `parts`.

        Raises TooLarge as soon as that is certain, and Overloaded while others are on their way with as much as may be.
        """
        announced = headers.get(b"content-length")
        if announced is not None and int(announced) > BODY_BYTES_MAX:
            raise too_large()  # before any of it is received, so that `Expect: 100-continue` spares the client sending it
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                length, is_whole = 0, False
                while not is_whole:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return False
                    parts.append(part := message.get("body", b""))
                    length += len(part)
                    self._bodies_bytes += len(part)
                    if length > BODY_BYTES_MAX:
                        raise too_large()
                    if self._bodies_bytes > BODIES_BYTES_MAX:
                        raise _too_many()
                    is_whole = not message.get("more_body")
        except TimeoutError as error:
            raise TooSlow(f"The body took longer than {BODY_TIMEOUT_S} s to arrive.") from error
        return True

    async def _principal(self, scope: Scope, headers: Headers) -> KeyPrincipal:
        token = bearer_token(headers.get(b"authorization", b"").decode("latin-1"))
        principal = authenticate_cached(token)
        if principal is None:
            principal = await self._look_up(authenticate, token)
        try:
            if principal.networks:
                principal.require_network(_client_ip(scope))
        except Forbidden as refused:
            await self._look_up(_record_denial, principal, refused, scope, headers, "")
            raise
        if not is_use_noted(principal):
            await self._look_up(note_use, principal)
        try:
            principal.require(EVENTS_WRITE)
        except Forbidden as refused:
            await self._look_up(_record_denial, principal, refused, scope, headers, EVENTS_WRITE)
            raise
        return principal

    async def _look_up(self, act: Callable[..., T], *arguments: Any) -> T:
        """Do what asks the database about a key, or writes about it, in the thread that there is for it."""
        return await asyncio.get_running_loop().run_in_executor(self._look_ups, _connected, act, *arguments)

    def _gather(
        self, principal: KeyPrincipal, kind: str, body: bytes, reply: _Reply, settle: Callable[[Outcome], None]
    ) -> None:
        """Record what is in a small body once the key's share allows as many: who is over it costs no decoding."""
        items = split(body, kind, "")
        self._spend(principal, len(items), reply)
        self._gathering.add(items, principal, len(body), settle)

    async def _gathered(self, principal: KeyPrincipal, kind: str, body: bytes, reply: _Reply) -> Outcome:
        waiting: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome) -> None:
            if not waiting.done():  # else the request was given up
                waiting.set_result(outcome)

        self._gather(principal, kind, body, reply, settle)
        return await waiting

    def _spend(self, principal: KeyPrincipal, count: int, reply: _Reply) -> None:
        budget = self._limit.take(principal.id, count)
        reply.extra += ((b"ratelimit-policy", self._policy), (b"ratelimit", self._limit.header(budget).encode()))

    async def _receipts(self, submission: Submission) -> Sequence[Receipt]:
        if not submission.events:
            return ()
        return await asyncio.wrap_future(self._sequencer.submit(submission.events, submission.text_bytes))


class _Reply:
    """The answer to one request in the making: status, headers and content."""

    __slots__ = ("_request", "extra")

    def __init__(self, sent_id: str) -> None:
        self._request = request_id(sent_id)
        self.extra: list[Header] = []  # headers beside those that every answer has

    def of(self, outcome: Outcome) -> tuple[int, list[Header], bytes]:
        """The answer that says what became of the events, or why there is no other; a fault of ours is logged and not told."""
        if isinstance(outcome, Exception):
            error = outcome
        else:
            submission, receipts = outcome
            try:
                status, content = submission.answer(receipts)
                return self._whole(status, b"application/json", content)
            except Exception as fault:  # noqa: BLE001 - logged below
                error = fault
        if not isinstance(error, OpsSentinalError):
            log.error("Request %s failed", self._request, exc_info=error)
            error = OpsSentinalError("The request could not be handled; the server's log says why.")
        self.extra += [(name.encode(), value.encode()) for name, value in error_headers(error)]
        return self._whole(error.status, PROBLEM_TYPE.encode(), problem_json(error, self._request))

    def _whole(self, status: int, kind: bytes, content: bytes) -> tuple[int, list[Header], bytes]:
        self.extra += (
            (b"content-type", kind),
            (b"content-length", b"%d" % len(content)),
            (b"x-request-id", self._request.encode()),
        )
        return status, self.extra, content


def request_id(sent: str) -> str:
    """The id of a request: the caller's own if it is a plain word, else a new one of 128 random bits.

    They keep requests apart and protect nothing; the system's random numbers would cost a system call, which gives up
    the interpreter to another thread on each request.
    """
    return sent if sent and _REQUEST_ID.fullmatch(sent) else f"{getrandbits(128):032x}"


def error_headers(error: OpsSentinalError) -> Iterable[tuple[str, str]]:
    """The headers that go with an error's status."""
    if isinstance(error, Unauthenticated):
        yield "www-authenticate", 'Bearer realm="opssentinal"'
    if (seconds := retry_after_s(error)) is not None:
        yield "retry-after", str(seconds)
    if error.status == 415:
        yield "accept-post", "application/json, application/x-ndjson"
        yield "accept-encoding", "gzip, zstd, identity"  # RFC 7694


def _too_many() -> Overloaded:
    return Overloaded("Too many requests are on their way.", retry_after_s=1)


def _form(headers: Headers) -> tuple[str, str]:
    """The content type and the content encoding that a body is said to have."""
    kind, encoding = (headers.get(name, b"").decode("latin-1") for name in (b"content-type", b"content-encoding"))
    return kind, encoding


def _principal_at_hand(head: Head) -> KeyPrincipal | None:
    """The principal if it may send events from anywhere and nothing has to be asked or written for it now."""
    principal = authenticate_cached(head.token, head.token_digest) if head.token else None
    if principal is None or principal.networks or EVENTS_WRITE not in principal.scopes or not is_use_noted(principal):
        return None
    return principal


def _connected(act: Callable[..., T], *arguments: Any) -> T:
    close_old_connections()
    return act(*arguments)


def _record_denial(principal: KeyPrincipal, refused: Forbidden, scope: Scope, headers: Headers, wanted: str) -> None:
    agent = agent_named(headers.get(b"user-agent", b"").decode("latin-1"))
    context = Context(ip=_client_ip(scope), user_agent=agent)
    try:
        record_denial(principal, refused, context, method=scope["method"], path=scope["path"], scope=wanted)
    except DatabaseError as error:
        raise Unavailable("The database does not answer.", hint="Try again.") from error


def _client_ip(scope: Scope) -> str | None:
    client = scope.get("client")
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return client_address(client[0] if client else "", forwarded.decode("latin-1"))[0]
