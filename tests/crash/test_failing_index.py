"""Each call that writes the search index fails in turn: recording goes on, no answer shows a part as the whole, search recovers."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from opssentinal.config import load
from opssentinal.errors import Unavailable
from opssentinal.search.client import SearchClient
from tests.crash import injection
from tests.crash.conftest import Subject
from tests.server import ServerProcess

# A sample of the calls; all of them with INDEX=all in the shell, and with so many events that what brings them writes a whole portion
# to the file at once and checkpoints it while it is in use, which takes a quarter of an hour.
ALL = os.environ.get("INDEX") == "all"
EVENTS = 125_000 if ALL else 2_000
_FAULTS = "write,pwrite64,fsync,fdatasync,ftruncate,unlink,chmod,fchmod"
_PATIENCE_S = 60


class Looker(threading.Thread):
    """Records an event and asks for its own, again and again: all are there, or the answer says that some may not be."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(name="looker")
        self._subject = subject
        self._headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
        self._name = uuid.uuid4().hex
        self._sent: list[str] = []
        self._stopping = threading.Event()
        self.lies: list[str] = []
        self.whole: Counter[str] = Counter()

    def run(self) -> None:
        """Look until stopped."""
        while not self._stopping.is_set() and not self.lies:
            id_ = str(uuid.uuid4())
            event = {"id": id_, "action": "index.looked", "actor": {"type": "looker", "id": self._name}}
            status, body = self._subject.server.request(
                "POST", "/api/v1/events", json.dumps(event).encode(), self._headers
            )
            if status != 201:
                self.lies.append(f"not recorded: {status} {body!r}")
                return
            self._subject.acknowledged.add(json.loads(body)["results"])
            self._sent.append(id_)
            self._ask("events?limit=1", self._has_the_last)
            self._ask("events/facets?field=action", self._counts_all)

    def _has_the_last(self, answer: dict[str, Any]) -> bool:
        return [event["id"] for event in answer["data"]] == self._sent[-1:]

    def _counts_all(self, answer: dict[str, Any]) -> bool:
        return [found["count"] for found in answer["data"]["action"]] == [len(self._sent)]

    def _ask(self, what: str, is_whole: Callable[[dict[str, Any]], bool]) -> None:
        status, body = self._subject.server.get(f"/api/v1/{what}&actor={self._name}", self._headers)
        answer = json.loads(body)
        is_told = status == 503 or (status == 200 and not answer.get("complete", True))
        if status == 200 and is_whole(answer):
            self.whole[what.partition("?")[0]] += 1
        elif not is_told:
            self.lies.append(f"{what}: {len(self._sent)} are recorded, the answer was {status} {body[:400]!r}")

    def stop(self) -> None:
        """End; fails where something was not as it should be."""
        self._stopping.set()
        self.join()
        assert self.lies == []


@contextmanager
def looking(subject: Subject) -> Iterator[None]:
    """Two look all the time."""
    lookers = [Looker(subject) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        yield
        for looker in lookers:
            looker.whole.clear()
        deadline = time.monotonic() + _PATIENCE_S
        while not all(len(looker.whole) == 2 or looker.lies for looker in lookers):
            assert time.monotonic() < deadline, "search did not come back for them"
            time.sleep(0.05)
    finally:
        for looker in lookers:
            looker.stop()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """A server with events, which may be asked as often as one likes; at the end, nothing is missing."""
    injection.require()
    data = tmp_path_factory.mktemp("crash") / "data"
    with ServerProcess(data, OPSSENTINAL_API_REQUESTS_PER_MINUTE="1000000") as server:
        subject = Subject(server)
        for _ in range(EVENTS // 1_000):
            _send(subject, 1_000)
        server.wait_for_search()
        yield subject
        subject.check()


def _send(subject: Subject, events: int) -> None:
    batch = [{"action": "index.tested", "actor": {"type": "test", "id": str(n % 7)}} for n in range(events)]
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
    status, body = subject.server.request("POST", "/api/v1/events", json.dumps(batch).encode(), headers)
    assert status == 201
    subject.acknowledged.add(json.loads(body)["results"])


def _bring(subject: Subject) -> None:
    """Bring a batch of events into the file in use."""
    _send(subject, 300)
    subject.server.wait_for_search()


def _begin_anew(subject: Subject) -> None:
    """Fill the file in use from the beginning."""
    _file(subject).unlink()
    deadline = time.monotonic() + _PATIENCE_S
    while not _file(subject).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    subject.server.wait_for_search()


def _exchange(subject: Subject) -> None:
    """Fill a second file and exchange the two."""
    with suppress(Unavailable):
        _reindex(subject)


def _exchange_or_stay(subject: Subject) -> None:
    """The same. Where it is refused, the file in use is still the same one: a fault of the second file is none of its own."""
    before = _file(subject).stat().st_ino
    try:
        _reindex(subject)
    except Unavailable:
        assert _file(subject).stat().st_ino == before
    else:
        assert _file(subject).stat().st_ino != before


def _file(subject: Subject) -> Path:
    return subject.server.data_dir / "search.duckdb"


def _reindex(subject: Subject) -> None:
    SearchClient(load(subject.server.environment).search_socket).reindex()


class Work(NamedTuple):
    """What makes the back write files of the index, which files, and a sample of the calls of each kind."""

    act: Callable[[Subject], None]
    names: tuple[str, ...]
    sample: dict[str, tuple[int, ...]]


_IN_USE = ("search.duckdb", "search.duckdb.wal")
_NEW = ("search.duckdb.reindex", "search.duckdb.reindex.wal")
WORKS = {
    "a batch is brought": Work(_bring, _IN_USE, {"write": (2,), "fsync,fdatasync": (1,)}),
    "the file is begun anew": Work(
        _begin_anew,
        _IN_USE,
        {"write": (2,), "pwrite64": (1,), "fsync,fdatasync": (5,), "openat": (), "unlink": (), "chmod,fchmod": ()},
    ),
    "the file is closed": Work(
        _exchange, _IN_USE, {"write": (), "pwrite64": (2,), "fsync,fdatasync": (3,), "openat": (), "unlink": ()}
    ),
    "another is made": Work(
        _exchange_or_stay,
        _NEW,
        {
            "write": (5,),
            "pwrite64": (3,),
            "fsync,fdatasync": (5,),
            "rename,renameat,renameat2": (1,),
            "unlink": (4,),
            "openat": (),
            "chmod,fchmod": (),
        },
    ),
}


@pytest.mark.parametrize("work", WORKS.values(), ids=list(WORKS))
def test_each_call_fails_in_turn(filled: Subject, work: Work) -> None:
    """The n-th call of every thread of the back for a file of the index fails, for each n that there is."""
    server = filled.server
    files = [server.data_dir / name for name in work.names]
    with looking(filled):
        for calls, sample in work.sample.items():
            for nth in count(1) if ALL else sample:
                back = server.back()
                assert back is not None
                with injection.failing(back, calls, "EIO", str(nth), *files, follow=True) as failed:
                    work.act(filled)
                    happened = failed()
                server.wait_for_search()
                assert server.back() == back, "it did not even have to start again"
                if not happened:
                    assert nth > max(sample, default=1)
                    break
    _reindex(filled)


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_disk_that_fails_for_longer(filled: Subject, error: str) -> None:
    """While nothing can be written to the index, and nothing undone, events are recorded; then it goes on by itself."""
    server, back = filled.server, filled.server.back()
    assert back is not None
    files = [server.data_dir / name for name in (*_IN_USE, *_NEW)]
    with looking(filled):
        with injection.failing(back, _FAULTS, error, "1+", *files, follow=True) as failed:
            _send(filled, 300)
            deadline = time.monotonic() + _PATIENCE_S
            while "error" not in (ready := json.loads(server.get("/readyz")[1]))["search"]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert ready["ready"], "recording does not depend on search"
            assert failed()
            with pytest.raises(Unavailable):
                _reindex(filled)
        server.wait_for_search()
    _reindex(filled)
