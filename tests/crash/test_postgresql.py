"""PostgreSQL goes away under load, and two servers share one ledger: no gap, no number twice, nothing acknowledged lost."""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from tests.crash.checks import check_everything
from tests.crash.cluster import Cluster
from tests.crash.conftest import Subject
from tests.crash.proxy import Proxy
from tests.server import ServerProcess

# How often the database is restarted, a server killed and all connections cut, and commits lost; a long run asks for more.
RESTARTS = int(os.environ.get("RESTARTS", "1"))
CUTS = int(os.environ.get("CUTS", "8"))
LOSSES = int(os.environ.get("LOSSES", "5"))
_SECRET = "one key for both servers, 32 or more"
# Of clients in a long run: millions of events are not read twice from each of two servers in any reasonable time.
REST_S = 0.05 if RESTARTS > 1 else 0
_PATIENCE_S = 60


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A database server of our own."""
    cluster = Cluster()
    yield cluster
    cluster.delete()


class Pair:
    """Two servers on one ledger."""

    def __init__(self, url: str, folder: Path) -> None:
        shared = {"OPSSENTINAL_DATABASE_URL": url, "OPSSENTINAL_SECRET_KEY": _SECRET}
        self.servers = [ServerProcess(folder / name, **shared) for name in ("first", "second")]

    @contextmanager
    def running(self) -> Iterator[Subject]:
        """Both of them, to be loaded and asked in turn."""
        first, second = self.servers
        with first, second:
            yield Subject(first)

    def check(self, subject: Subject) -> None:
        """Both took events, and both tell the same whole log."""
        assert subject.acknowledged.by_port.keys() == {server.port for server in self.servers}
        for server in self.servers:
            check_everything(server, subject.key, subject.acknowledged)
            assert server.get("/readyz")[0] == 200


@pytest.fixture
def pair(cluster: Cluster, tmp_path: Path) -> Pair:
    """Two servers that do not run yet, on an empty ledger."""
    return Pair(cluster.new_database(), tmp_path)


def test_two_servers_on_a_database_that_goes_away(cluster: Cluster, pair: Pair) -> None:
    """Two servers take events while connections are cut and the database crashes; what one does not acknowledge goes to the other."""
    chance = random.Random(5)
    with pair.running() as subject:
        with subject.load(4, *(server.port for server in pair.servers), rest_s=REST_S):
            time.sleep(0.5)
            cut = 0
            for _ in range(CUTS):
                cut += cluster.cut_connections()
                time.sleep(chance.uniform(0.02, 0.3))
            assert cut >= CUTS
            for _ in range(RESTARTS):
                cluster.restart()
                time.sleep(chance.uniform(0.3, 1.5))
        assert len(subject.acknowledged.seqs) > 200
        pair.check(subject)


def test_one_of_two_servers_is_killed(pair: Pair) -> None:
    """Its clients go on at the other with what it did not acknowledge, and it comes back into the same log."""
    first, second = pair.servers
    with pair.running() as subject:
        with subject.load(4, first.port, second.port, rest_s=REST_S):
            for victim in (first, second) * RESTARTS:
                time.sleep(0.7)
                victim.kill()
                time.sleep(0.3)
                victim.start()
            time.sleep(0.7)
        pair.check(subject)


def test_what_one_server_acknowledged_the_other_finds(pair: Pair) -> None:
    """At once, by search and by id; and sent again there it is a duplicate at its place."""
    with pair.running() as subject:
        for server in pair.servers:
            server.wait_for_search()
        for number in range(10):
            to, asked = pair.servers[number % 2], pair.servers[1 - number % 2]
            id_ = str(uuid.uuid4())
            _, [told] = _send(subject, to, id_)
            page = asked.api(f"/api/v1/events?action=two.servers&actor={id_}", subject.key)
            assert [event["seq"] for event in page["data"]] == [told["seq"]]
            assert asked.api(f"/api/v1/events/{id_}", subject.key)["seq"] == told["seq"]
            _, [again] = _send(subject, asked, id_)
            assert (again["status"], again["seq"]) == ("duplicate", told["seq"])


def test_the_database_is_down_for_a_while(cluster: Cluster, pair: Pair) -> None:
    """Both servers say 503 to whoever sends, reads or asks whether they are ready, and go on by themselves."""
    with pair.running() as subject:
        cluster.stop()
        try:
            for server in pair.servers:
                status, results = _send(subject, server, str(uuid.uuid4()))
                assert (status, results) == (503, [])
                assert server.get("/readyz")[0] == 503
                assert server.get("/healthz")[0] == 200
                assert server.get("/api/v1/events/0", {"Authorization": f"Bearer {subject.key}"})[0] == 503
        finally:
            cluster.start()
        for server in pair.servers:
            deadline = time.monotonic() + _PATIENCE_S
            while server.get("/readyz")[0] != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert _send(subject, server, str(uuid.uuid4()))[0] == 201
        pair.check(subject)


@pytest.mark.parametrize("lost", ["commit", "answer"])
def test_a_commit_is_lost(cluster: Cluster, tmp_path: Path, lost: Literal["commit", "answer"]) -> None:
    """The connection ends where nobody can know: it is read back, not guessed. What was committed is there once, and what was
    not is refused or tried again."""
    proxy = Proxy(cluster.port)
    url = cluster.new_database().replace(f":{cluster.port}/", f":{proxy.port}/")
    server = ServerProcess(tmp_path / "data", OPSSENTINAL_DATABASE_URL=url, OPSSENTINAL_SECRET_KEY=_SECRET)
    with server:
        subject = Subject(server)
        for number in range(LOSSES):
            id_ = str(uuid.uuid4())
            proxy.lose(lost)
            status, results = _send(subject, server, id_)
            assert proxy.lost == number + 1
            if status == 503:
                deadline = time.monotonic() + _PATIENCE_S
                while (tried := _send(subject, server, id_))[0] == 503:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                status, results = tried
                assert results[0]["status"] == ("duplicate" if lost == "answer" else "accepted")
            assert status == 201
            assert server.api(f"/api/v1/events/{id_}", subject.key)["seq"] == results[0]["seq"]
        subject.check()
    proxy.close()


def _send(subject: Subject, server: ServerProcess, id_: str) -> tuple[int, list[dict[str, object]]]:
    """Send one event; what is acknowledged is kept. Returns the status, and the results if there are any."""
    event = {"id": id_, "action": "two.servers", "actor": {"type": "test", "id": id_}}
    headers = {"Authorization": f"Bearer {subject.key}", "Content-Type": "application/json"}
    status, body = server.request("POST", "/api/v1/events", json.dumps(event).encode(), headers)
    answer = json.loads(body)
    if status == 201:
        subject.acknowledged.add(answer["results"], server.port)
        return status, answer["results"]
    assert answer["type"].startswith("urn:opssentinal:error:")
    return status, []
