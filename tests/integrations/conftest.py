"""A real receiver that can fail, hang and recover; people who connect it; and a clock that can be moved."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from pytest_django import Settings

from opssentinal.config import load
from opssentinal.events.model import Actor, Context, RecordedEvent
from opssentinal.integrations import services
from opssentinal.integrations.follower import Follower
from opssentinal.integrations.models import Integration
from opssentinal.ledger.reader import newest
from opssentinal.workspace.models import User
from tests.ledger.conftest import check_ledger, commit, make_event, reset_head

ALICE = Actor(type="user", id="user_1", name="Alice", email="alice@example.com")
HERE = Context(ip="203.0.113.9")
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(autouse=True)
def log(transactional_db: None, settings: Settings) -> Iterator[None]:
    """An empty ledger that is still sound at the end, and an operator who permits receivers on this host."""
    environment = {
        "OPSSENTINAL_DATA_DIR": os.environ["OPSSENTINAL_DATA_DIR"],
        "OPSSENTINAL_OUTBOUND_ALLOW": "127.0.0.1",
    }
    settings.CONFIG = load(environment)
    reset_head()
    yield
    check_ledger()


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follower(clock: Clock) -> Follower:
    return Follower("back-1", clock)


@dataclass
class Received:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> Any:
        return json.loads(self.body)

    @property
    def seqs(self) -> list[int]:
        return [event["seq"] for event in self.payload["data"]["events"]]

    def is_signed_with(self, secret: str) -> bool:
        """As the specification tells receivers to check, with nothing of the product."""
        content = b".".join([self.webhook_id.encode(), self.headers["webhook-timestamp"].encode(), self.body])
        key = base64.b64decode(secret.removeprefix("whsec_"))
        wanted = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return wanted in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """A server that answers 204, unless `answers` has another answer ready or `behave` decides."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    behave: Callable[[Received], Answer | None] | None = None
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def take(self, request: Received) -> Answer:
        with self.arrived:
            self.received.append(request)
            self.arrived.notify_all()
        answer = self.behave(request) if self.behave else None
        return answer or (self.answers.pop(0) if self.answers else (204, {}, b""))

    def wait_for(self, enough: Callable[[], bool], within_s: float = 40) -> None:
        with self.arrived:
            assert self.arrived.wait_for(enough, within_s), f"received {self.seqs}"

    @property
    def seqs(self) -> list[int]:
        """The seqs of all events that came in, in order, with what came twice."""
        return [seq for request in self.received for seq in request.seqs]


@pytest.fixture
def receive() -> Iterator[Callable[[], Receiver]]:
    """Start receivers; all are gone at the end."""
    servers: list[ThreadingHTTPServer] = []

    def start() -> Receiver:
        receiver = Receiver()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Received({name.lower(): value for name, value in self.headers.items()}, body)
                try:
                    status, headers, answer = receiver.take(request)
                finally:
                    connections.close_all()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        return receiver

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def receiver(receive: Callable[[], Receiver]) -> Receiver:
    return receive()


def connect(receiver: Receiver, **fields: Any) -> services.Created:
    """Alice connects a receiver; what she did is event 0 in an empty log."""
    return services.create_webhook(actor=ALICE, context=HERE, **({"name": "SIEM", "url": receiver.url} | fields))


def record_events(count: int, first: int = 0, **fields: Any) -> None:
    """Put events into the log."""
    commit([make_event(number, **fields) for number in range(first, first + count)])


def deliver(follower: Follower, integration: Integration) -> Integration:
    """Step until there is nothing more to do now; return the integration as it is then."""
    while follower.step(integration.pk):
        continue
    return Integration.objects.get(pk=integration.pk)


def events(action: str | None = None) -> list[RecordedEvent]:
    """What the log holds, oldest first."""
    return [event for event in reversed(newest(1000)) if action in (None, event.action)]


@pytest.fixture
def admin() -> Client:
    """The browser of Alice, who is an admin."""
    browser = Client(raise_request_exception=False)
    browser.force_login(
        User.objects.create_user("alice@example.com", "correct horse battery", name="Alice", role="admin")
    )
    return browser
