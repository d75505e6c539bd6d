"""PostgreSQL goes away under load, and two servers share one ledger: no gap, no number twice, nothing acknowledged lost."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.checks import check_everything
from tests.crash.cluster import Cluster
from tests.crash.conftest import Subject
from tests.server import ServerProcess

# How often the database is restarted, and how often all connections are cut; a long run asks for more.
RESTARTS = int(os.environ.get("RESTARTS", "1"))
CUTS = int(os.environ.get("CUTS", "8"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A database server of our own."""
    cluster = Cluster()
    yield cluster
    cluster.delete()


def test_two_servers_on_a_database_that_goes_away(cluster: Cluster, tmp_path: Path) -> None:
    """Two servers take events while connections are cut and the database crashes; both then tell the same whole log."""
    shared = {"OPSSENTINAL_DATABASE_URL": cluster.url, "OPSSENTINAL_SECRET_KEY": "one key for both servers, 32 or more"}
    chance = random.Random(5)
    first, second = ServerProcess(tmp_path / "first", **shared), ServerProcess(tmp_path / "second", **shared)
    with first, second:
        subject = Subject(first)
        with subject.load(4, first.port, second.port):
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
        for server in (first, second):
            check_everything(server, subject.key, subject.acknowledged)
        assert server.get("/readyz")[0] == 200
