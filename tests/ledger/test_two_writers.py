"""Several processes write one log: no gap, no seq twice, no id twice, on every database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

from django.db import connection

from opssentinal.ledger.maintenance import compact
from opssentinal.ledger.reader import bundles_after, head

WRITERS, COMMITS = 3, 40


def test_processes_share_one_order(ledger: Callable[[], None]) -> None:
    """Sequencers and transactions of three processes, with compaction beside them, make one gapless log."""
    name = str(connection.settings_dict["NAME"])
    connection.close()
    writers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.ledger.writer", name, str(number), str(COMMITS)],
            env=os.environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(WRITERS)
    ]
    try:
        while any(writer.poll() is None for writer in writers):
            compact()
        for writer in writers:
            _, errors = writer.communicate()
            assert writer.returncode == 0, errors
    finally:
        for writer in writers:
            writer.kill()
    ledger()
    events = [event for bundle in bundles_after(0, 10**6) for event in bundle.events()]
    assert [event.seq for event in events] == list(range(head().size))
    numbers = Counter(event.metadata["number"] for event in events)
    assert set(numbers.values()) == {1}
    assert len(numbers) == WRITERS * COMMITS * 6 + COMMITS
