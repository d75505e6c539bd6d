"""A server's back process for these tests: the real search service on its real socket, over the test's own ledger."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection, connections

from opssentinal.apikeys.models import APIKey
from opssentinal.events.model import Actor, Context, Event, RecordedEvent
from opssentinal.exports import jobs, services
from opssentinal.exports.models import Export, exports_folder
from opssentinal.exports.services import Principal
from opssentinal.followers.runner import Runner
from opssentinal.ledger import reader
from opssentinal.query import Filter
from opssentinal.search.duckdb.store import DuckDBStore
from opssentinal.search.feed import Feed
from opssentinal.search.index import Index
from opssentinal.search.service import SearchService
from opssentinal.workspace.models import User
from tests.ledger.conftest import commit, ledger, make_event

__all__ = ["events", "ledger", "make_event"]

ADMIN = Principal("user", "1", is_admin=True)
ALICE = Actor(type="user", id="user_1", name="Alice", email="alice@example.com")


class Back:
    """The part of the back process that makes files: index, feed and service."""

    def __init__(self, index: Path) -> None:
        self._path = index

    def start(self) -> None:
        self._index = Index(self._path, DuckDBStore)
        self._feed = Feed(self._index, DuckDBStore)
        self._service = SearchService(settings.CONFIG.search_socket, self._index, self._feed, Runner([]), timeout_s=20)
        self._feed.start()
        self._service.start()
        self.is_running = True

    def stop(self) -> None:
        self._service.stop()
        self._feed.stop()
        self._index.close()
        self.is_running = False


@pytest.fixture
def back(ledger: Callable[[], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Back]:
    """A running search service over an empty ledger, an empty folder of exports, and the admin and the keys that ask for them."""
    User.objects.get_or_create(pk=1, defaults={"email": "first@example.com", "role": "admin"})
    with connection.cursor() as cursor:  # or PostgreSQL gives the next account the same number
        for statement in connection.ops.sequence_reset_sql(no_style(), [User]):
            cursor.execute(statement)
    for public_id in ("keyA", "keyB"):
        APIKey.objects.get_or_create(public_id=public_id, defaults={"scopes": ["exports:write"]})
    made = Back(tmp_path_factory.mktemp("index") / "search.duckdb")
    made.start()
    yield made
    if made.is_running:
        made.stop()
    shutil.rmtree(exports_folder())
    connections.close_all()


def events(count: int, *, first: int = 0) -> list[Event]:
    """Events by actors usr_0, usr_1, …"""
    return [make_event(number) for number in range(first, first + count)]


def record_events(made: list[Event]) -> None:
    commit(made)


def make_files(stop: threading.Event | None = None, within_s: float = 60.0) -> int:
    """Look into the queue as the back does, again and again until it is empty; return how many exports ended."""
    until = time.monotonic() + within_s
    ended = 0
    while time.monotonic() < until and not (stop is not None and stop.is_set()):
        ended += jobs.run_queued_exports(stop)
        if not Export.objects.filter(status__in=("queued", "running")).exists():
            return ended
        time.sleep(0.01)
    return ended


def export(filter: Filter, format: str, *, principal: Principal = ADMIN, **more: Any) -> Export:
    """Ask for an export, make it, and return it ready."""
    asked = services.create_export(ALICE, Context(ip="203.0.113.9"), principal, filter, format, **more)
    make_files()
    asked.refresh_from_db()
    assert asked.status == "ready", asked.error
    return asked


def downloads() -> list[RecordedEvent]:
    """The export.downloaded events, oldest first."""
    return [event for event in reversed(reader.newest(1000)) if event.action == "export.downloaded"]
