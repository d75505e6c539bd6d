"""A ledger with events and the real back process' parts, in this process, on a socket of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from opssentinal.back import Back
from opssentinal.config import Config, load
from opssentinal.errors import Unavailable
from opssentinal.search.client import SearchClient
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import SearchStore
from tests.ledger.conftest import ledger

__all__ = ["ledger"]


@pytest.fixture
def config(tmp_path: Path, settings: Any) -> Config:
    """The configuration of a data directory of this test alone."""
    config = load({"OPSSENTINAL_DATA_DIR": str(tmp_path), "OPSSENTINAL_SEARCH_MEMORY_MB": "256"})
    settings.CONFIG = config
    return config


@contextmanager
def running(config: Config, **options: Any) -> Iterator[tuple[Back, SearchClient]]:
    """A back at work, without scheduled tasks unless given, and a client of it."""
    back = Back(config, **({"tasks": ()} | options))
    back.start()
    try:
        yield back, SearchClient(settings.CONFIG.search_socket)
    finally:
        back.stop()


@pytest.fixture
def client(config: Config, ledger: Callable[[], None]) -> Iterator[SearchClient]:
    """A client of a running back over an empty ledger."""
    with running(config) as (_, client):
        yield client


class Meanwhile(Interruption):
    """Has something happen between two steps of a question."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act, self._steps = act, 0

    def check(self) -> None:
        """See Interruption.check; the first steps are the way into the question."""
        super().check()
        self._steps += 1
        if self._steps == 3:
            self._act()


def store_of(back: Back) -> SearchStore:
    """The store in use; waits while it is being exchanged."""
    with back.index.reading() as store:
        return store


def is_exchanged(back: Back, old: SearchStore) -> bool:
    """Whether another store is in use than before, and open."""
    with suppress(Unavailable):
        return store_of(back) is not old
    return False


def is_clean(back: Back) -> bool:
    """Whether the file in use has no bytes of forgotten events, and none is on its way."""
    return store_of(back).is_clean and not back.feed.successor.is_made


def until(is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
