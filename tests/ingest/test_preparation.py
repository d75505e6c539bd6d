"""Bodies that other processes prepare: what comes of them is what would have come of them here."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from opssentinal.apikeys.principal import EVENTS_WRITE, KeyPrincipal
from opssentinal.errors import InvalidInput, Unavailable, UnsupportedMediaType
from opssentinal.ingest import preparation
from opssentinal.ingest.body import split
from opssentinal.ingest.operation import Submission
from opssentinal.ingest.preparation import Preparers
from tests.server import ServerProcess, children_of

from .conftest import Client, event, sent_events

KEY = KeyPrincipal("ak_1", "billing", "billing", None, frozenset((EVENTS_WRITE,)))


@pytest.fixture
def preparers() -> Iterator[Preparers]:
    """One process, ended afterwards."""
    preparers = Preparers(1)
    yield preparers
    preparers.close()


def prepared(preparers: Preparers, body: bytes, kind: str = "application/json") -> Submission:
    """What becomes of a body, asked from a loop in a thread of its own: this one may have a loop, a browser's."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(preparers.submission(KEY, body, kind, ""))).result()


def children() -> set[int]:
    """The processes that this one has started."""
    return set(children_of(os.getpid()))


def test_it_is_what_is_made_here(preparers: Preparers) -> None:
    """The same events and refusals, whoever prepares them."""
    body = (
        b'[{"action":"a.b","actor":{"type":"u","id":"1"},"metadata":{"n":1.5}},{"action":"wrong"},{"source":"other"}]'
    )
    there, here = prepared(preparers, body), Submission.of(split(body, "application/json", ""), KEY)
    here.encode()
    assert there.events.events() == here.events.events()  # type: ignore[union-attr]
    assert len(there) == len(here) == 3
    assert there.text_bytes == here.text_bytes


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [(b"[", "application/json", InvalidInput), (b"[]", "text/plain", UnsupportedMediaType)],
)
def test_refusals_come_through(preparers: Preparers, body: bytes, kind: str, error: type[InvalidInput]) -> None:
    """An error that a body earns is raised here as it would be there, hint and all."""
    with pytest.raises(error) as there:
        prepared(preparers, body, kind)
    with pytest.raises(error) as here:
        split(body, kind, "")
    assert vars(there.value) == vars(here.value)
    assert str(there.value) == str(here.value)


def test_a_killed_process_is_replaced(preparers: Preparers) -> None:
    """Between two bodies and in the middle of one: the body is prepared all the same."""
    before = children()
    body = b"[" + b",".join([b'{"action":"a.b","actor":{"type":"u","id":"1"}}'] * 1000) + b"]"
    for delay_s in (None, 0.0, 0.002, 0.005):
        prepared(preparers, body)
        [pid] = children() - before
        if delay_s is None:
            os.kill(pid, signal.SIGKILL)
        else:
            threading.Timer(delay_s, os.kill, (pid, signal.SIGKILL)).start()
        assert len(prepared(preparers, body)) == 1_000
        time.sleep(0.01)  # until the timer has fired


def test_one_body_that_ends_its_process_harms_no_other(preparers: Preparers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that are asked about together, only the one at fault is given up."""
    ask = preparation._Process.ask

    def deadly(self: Any, bodies: list[Any]) -> Any:
        if any(b"deadly" in body.content for body in bodies):
            self._process.kill()
            self._process.wait()
        return ask(self, bodies)

    monkeypatch.setattr(preparation._Process, "ask", deadly)
    bodies = [b'["first"]', b'["good"]', b'["deadly"]', b'["good"]', b'["good"]']

    async def asked() -> list[Any]:
        coming = (preparers.submission(KEY, body, "application/json", "") for body in bodies)
        return await asyncio.gather(*coming, return_exceptions=True)

    with ThreadPoolExecutor(1) as thread:
        answers = thread.submit(lambda: asyncio.run(asked())).result()
    assert [type(answer) for answer in answers] == [Submission] * 2 + [Unavailable] + [Submission] * 2


def test_a_process_that_does_not_answer_is_replaced(preparers: Preparers, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stands still costs its time limit, also in the middle of a body that fills the pipe, and is killed."""
    monkeypatch.setattr(preparation, "ANSWER_TIMEOUT_S", 1)
    before = children()
    for body in (b"[{}]", b"[" + b" " * (4 << 20) + b"]"):
        with suppress(InvalidInput):
            prepared(preparers, body)
        [pid] = children() - before
        os.kill(pid, signal.SIGSTOP)
        with suppress(InvalidInput):
            prepared(preparers, body)
        [other] = children() - before
        assert other != pid


def test_a_process_that_does_not_end_is_killed(preparers: Preparers) -> None:
    """Closing waits a moment, and no longer."""
    before = children()
    prepared(preparers, b"[{}]")
    [pid] = children() - before
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    preparers.close()
    assert time.monotonic() - started < 10
    assert children() == before


def test_processes_end_with_us(preparers: Preparers) -> None:
    """Closing ends them."""
    before = children()
    prepared(preparers, b"[{}]")
    assert len(children() - before) == 1
    preparers.close()
    assert children() == before


def test_a_batch_is_recorded_in_order(client: Client) -> None:
    """A body that is too long to be prepared here: receipts and events stand in the order of the request."""
    events: list[dict[str, Any]] = [event(message=f"m{n}", metadata={"pad": "x" * 100}) for n in range(300)]
    events[7]["action"] = "WRONG"
    answer = client.post(events)
    assert answer.status == 207
    assert [result["status"] for result in answer.body["results"]].count("accepted") == 299
    assert answer.body["results"][7]["error"]["path"] == "$.action"
    assert [recorded.message for recorded in sent_events()] == [f"m{n}" for n in range(300) if n != 7]


def test_a_batch_sent_again(client: Client) -> None:
    """Ids that are taken are answered as duplicates, or as conflicts where the event is another; new ones are recorded."""
    events: list[dict[str, Any]] = [
        event(id=str(UUID(int=n + 1)), metadata={"n": n, "pad": "x" * 100}) for n in range(200)
    ]
    first = client.post(events).body["results"]
    events[3]["metadata"]["n"] = -1
    events[5]["id"] = str(UUID(int=1_000))
    events.append(events[5] | {"message": "another under the same id"})
    again = client.post(events)
    assert again.status == 207
    statuses = ["duplicate"] * 200 + ["conflict"]
    statuses[3], statuses[5] = "conflict", "accepted"
    assert [result["status"] for result in again.body["results"]] == statuses
    assert [result["seq"] for result in again.body["results"]][:3] == [result["seq"] for result in first][:3]
    assert again.body["results"][200]["seq"] == again.body["results"][5]["seq"]
    assert len(sent_events()) == 201


def test_no_process_is_left_when_the_server_is_killed(tmp_path: Path) -> None:
    """kill -9 of the front: what it had prepare its batches ends by itself."""
    with ServerProcess(tmp_path / "data") as server:
        headers = {"Authorization": f"Bearer {server.api_key('events:write')}", "Content-Type": "application/json"}
        body = b"[" + b",".join([b'{"action":"a.b","actor":{"type":"u","id":"1"}}'] * 500) + b"]"
        before = set(server.children())
        assert server.request("POST", "/api/v1/events", body, headers)[0] == 201
        [preparer] = set(server.children()) - before
        server.kill()
        deadline = time.monotonic() + 10
        while Path(f"/proc/{preparer}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
