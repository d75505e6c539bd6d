"""The ingest path as a client meets it: a real uvicorn on loopback, a real sequencer, a real ledger."""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import pytest
import uvicorn

from opssentinal.apikeys import authentication
from opssentinal.apikeys.principal import EVENTS_WRITE
from opssentinal.apikeys.rate import RateLimit
from opssentinal.apikeys.services import create_key
from opssentinal.connection import Connection
from opssentinal.direct import Direct
from opssentinal.events.model import Actor, Context, RecordedEvent
from opssentinal.ingest.app import Head, IngestApp
from opssentinal.ingest.gathering import Gathering
from opssentinal.ledger.reader import newest
from opssentinal.ledger.sequencer import Sequencer
from tests.ledger.conftest import commits_held, reset_head

ALICE = Actor(type="user", id="usr_7", name="Alice")


class Answer(NamedTuple):
    """A response: `body` is decoded JSON."""

    status: int
    headers: Any
    body: Any


class Client:
    """Talks to the server like curl: what is sent is what is given."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.token = token

    def post(self, body: Any, content_type: str | None = "application/json", **headers: str) -> Answer:
        """POST a body; anything but bytes is written as JSON. An Authorization header of "" is left out."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if content_type is not None:
            sent["Content-Type"] = content_type
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", "/api/v1/events", raw, {k: v for k, v in sent.items() if v})
            response = connection.getresponse()
            return Answer(response.status, response.headers, json.loads(response.read()))
        finally:
            connection.close()


@pytest.fixture(autouse=True)
def _no_cached_keys() -> Iterator[None]:
    authentication.forget_cached()
    yield
    authentication.forget_cached()


@pytest.fixture
def log(transactional_db: None) -> None:
    """An empty log."""
    reset_head()


@pytest.fixture
def make_token(log: None) -> Callable[..., str]:
    """Create a key and return its token; by default one that may write events as `billing`."""

    def make(**fields: Any) -> str:
        chosen = {"name": "Billing", "source": "billing", "scopes": [EVENTS_WRITE]} | fields
        return create_key(actor=ALICE, context=Context(), **chosen).token

    return make


@pytest.fixture
def servers() -> list[uvicorn.Server]:
    """The servers that `serve` has started."""
    return []


@pytest.fixture(params=["direct", "asgi"])
def serve(request: pytest.FixtureRequest, log: None, servers: list[uvicorn.Server]) -> Iterator[Callable[..., int]]:
    """Start a server and return its port; all are stopped and drained at the end.

    Small requests go the direct way in one, and all of them over ASGI in the other: nobody may notice a difference.
    """
    running: list[tuple[uvicorn.Server, threading.Thread, IngestApp, Sequencer]] = []

    def start(
        limit: RateLimit | None = None, queue_events_max: int = 50_000, connections_max: int | None = None
    ) -> int:
        sequencer = Sequencer(queue_events_max)
        sequencer.start()
        app = IngestApp(sequencer, limit)
        direct = Direct(b"POST", b"/api/v1/events", Head.of, app.take) if request.param == "direct" else None
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=partial(Connection, direct=direct),
                limit_concurrency=connections_max,
                log_config=None,
                log_level="warning",
                lifespan="off",
                proxy_headers=False,
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread, app, sequencer))
        servers.append(server)
        return int(listener.getsockname()[1])

    yield start
    for server, thread, app, sequencer in running:
        server.should_exit = True
        thread.join()
        sequencer.stop()
        app.close()


@pytest.fixture
def client(serve: Callable[..., int], make_token: Callable[..., str]) -> Client:
    """A client with a key that may write events as `billing`."""
    return Client(serve(), make_token())


def together(
    monkeypatch: pytest.MonkeyPatch, client: Client, bodies: Sequence[Any], clients: Sequence[Client] = ()
) -> list[Answer]:
    """Send all bodies while a commit is under way, so that they are gathered; return their answers, in the same order.

    Each comes from the client at its place in `clients`, or all from the one.
    """
    waiting: list[int] = []
    add = Gathering.add

    def seen(self: Gathering, items: Any, *others: Any) -> None:
        add(self, items, *others)
        waiting.append(len(items))

    senders = clients or [client] * len(bodies)
    for known in {sender.token: sender for sender in (client, *senders)}.values():
        known.post(event(message="looks the key up"))
    with ThreadPoolExecutor(len(bodies) + 1) as pool, monkeypatch.context() as patch:
        patch.setattr(Gathering, "add", seen)
        with commits_held(patch) as committing:
            first = pool.submit(client.post, event(message="first"))
            assert committing.wait(20)
            others = [pool.submit(sender.post, body) for sender, body in zip(senders, bodies, strict=True)]
            while len(waiting) < 1 + len(bodies):
                time.sleep(0.005)
        assert first.result().status == 201
        return [other.result() for other in others]


def sent_events() -> list[RecordedEvent]:
    """What clients have put into the log, oldest first: everything but the product's own events."""
    return [event for event in reversed(newest(5_000)) if event.source != "opssentinal"]


def event(**changes: Any) -> dict[str, Any]:
    """A well-formed event as a client would write it."""
    return {
        "action": "login.success",
        "outcome": "success",
        "actor": {"type": "user", "id": "usr_7", "name": "Alice"},
    } | changes


class Wire:
    """One connection, byte by byte."""

    def __init__(self, client: Client) -> None:
        self.token = client.token
        self._socket = socket.create_connection(("127.0.0.1", client.port), timeout=20)
        self._file = self._socket.makefile("rb")

    def request(self, body: bytes, *headers: str, version: str = "1.1", length: bool = True) -> bytes:
        """A request with this body, or its announcement."""
        lines = [
            f"POST /api/v1/events HTTP/{version}",
            "Host: localhost",
            f"Authorization: Bearer {self.token}",
            "Content-Type: application/json",
            *([f"Content-Length: {len(body)}"] if length else []),
            *headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def message(self, text: str, *headers: str, version: str = "1.1") -> bytes:
        """A whole request with one event."""
        return self.request(json.dumps(event(message=text)).encode(), *headers, version=version)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> Answer:
        """The next answer; it has to say how long it is."""
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self._file.readline().strip().decode():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        content = self._file.read(int(headers["content-length"])) if status != 100 else b"null"
        return Answer(
            status, headers, json.loads(content) if "json" in headers.get("content-type", "json") else content
        )

    def answer_waits(self) -> bool:
        """Whether the server has said more than was asked for."""
        return bool(select.select([self._socket], [], [], 0.05)[0])

    def is_closed(self) -> bool:
        """Wait for the server's next word, and tell whether it is the end."""
        return self._file.read(1) == b""

    def close(self) -> None:
        """Go away, in the middle of whatever it is."""
        self._file.close()
        self._socket.close()


@pytest.fixture
def wire(client: Client) -> Iterator[Wire]:
    """A connection of a client whose key has just been looked up."""
    assert client.post(event(message="first")).status == 201
    wire = Wire(client)
    yield wire
    wire.close()


def messages() -> list[str | None]:
    """What has been recorded after the first event."""
    return [recorded.message for recorded in sent_events()][1:]
