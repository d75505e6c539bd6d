"""The back process: the search service, the follower that feeds it, and the scheduled work.

It may crash, run out of memory or be stopped at any moment: the front goes on, `opssentinal serve` starts it again, and it
goes on from its position. DuckDB can be opened by one process only, and it is this one.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import django
from django.utils.timezone import now as utc_now

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opssentinal.settings")
django.setup()

from opssentinal.approvals.services import expire_overdue
from opssentinal.config import Config
from opssentinal.errors import Overloaded
from opssentinal.exports.jobs import requeue_interrupted, run_queued_exports
from opssentinal.followers.runner import Runner, Task
from opssentinal.instance import only_process, server_id
from opssentinal.integrations.dispatch import Dispatcher
from opssentinal.integrations.follower import Follower
from opssentinal.ledger.head import head
from opssentinal.ledger.maintenance import compact
from opssentinal.retention.clock import leap
from opssentinal.retention.jobs import cleanup_if_due, prune_if_due
from opssentinal.search.duckdb import DuckDBStore
from opssentinal.search.feed import Feed
from opssentinal.search.index import Index, Opener
from opssentinal.search.service import SearchService
from opssentinal.search.store import SearchStore
from opssentinal.settings import CONFIG

_log = logging.getLogger("opssentinal.back")
_PARENT_LOOKS_S = 0.5
_PREDECESSOR_S = 20
_COMPACTION_LOOKS_MAX = 30
_COMPACTION_PAUSE_S = 0.05


class _Exports:
    """Makes what waits; first of all, what a back before this one left half made is put back, as often as that takes."""

    def __init__(self) -> None:
        self._has_requeued = False

    def __call__(self, stop: threading.Event) -> None:
        if not self._has_requeued:
            requeue_interrupted()
            self._has_requeued = True
        run_queued_exports(stop)


class _IdleCompaction:
    """Compacts when nothing has been appended since the last look, and at the latest every quarter of an hour."""

    def __init__(self) -> None:
        self._size = self._compacted_size = -1
        self._looks = 0

    def __call__(self, stop: threading.Event) -> None:
        size, self._looks = head().size, self._looks + 1
        is_idle = size == self._size
        self._size = size
        if size != self._compacted_size and (is_idle or self._looks >= _COMPACTION_LOOKS_MAX):
            with suppress(Overloaded):  # fsck or pruning is at work; the next look comes before long
                compact(pause=lambda: stop.wait(_COMPACTION_PAUSE_S))
                self._compacted_size, self._looks = size, 0


def _retention(_: threading.Event) -> None:
    prune_if_due()


def _approvals(_: threading.Event) -> None:
    # By a clock that cannot be believed nothing has waited too long.
    if leap(utc_now()) is None:
        expire_overdue()


def _cleanup(_: threading.Event) -> None:
    cleanup_if_due()


# The scheduled work of the product. Names are what `SearchClient.poke` takes and the status shows.
TASKS: tuple[Task, ...] = (
    Task("exports", every_s=1, run=_Exports()),
    # Runs from start to stop; the pause is that after an error.
    Task("integrations", every_s=5, run=Dispatcher(Follower(server_id(CONFIG.data_dir)))),
    Task("compaction", every_s=30, run=_IdleCompaction(), first_s=30),
    Task("retention", every_s=300, run=_retention, first_s=20),
    Task("approvals", every_s=300, run=_approvals, first_s=60),
    Task("cleanup", every_s=300, run=_cleanup, first_s=40),
)


class Back:
    """All of the back process; `start` returns when it answers, `stop` when everything has ended."""

    def __init__(self, config: Config, tasks: Sequence[Task] = TASKS) -> None:
        opener: Opener = partial(_open, memory_mb=config.search_memory_mb, threads=config.search_threads)
        # The second index that `reindex` builds shares the memory with the first.
        second: Opener = partial(_open, memory_mb=max(config.search_memory_mb // 2, 128), threads=config.search_threads)
        self.index = Index(config.search_path, opener)
        self.feed = Feed(self.index, second)
        self.runner = Runner(tasks)
        self.service = SearchService(
            config.search_socket, self.index, self.feed, self.runner, timeout_s=config.query_timeout_s
        )

    def start(self) -> None:
        """Start following and answering, then the scheduled work. Raises OSError where the socket cannot be made."""
        self.feed.start()
        self.service.start()
        self.runner.start()

    def stop(self) -> None:
        """Stop what asks before what answers, and what feeds before what is fed."""
        self.runner.stop()
        self.service.stop()
        self.feed.stop()
        self.index.close()


def _open(path: Path, *, memory_mb: int, threads: int) -> SearchStore:
    return DuckDBStore(path, memory_mb=memory_mb, threads=threads)


def main(*, parent: int | None = None) -> None:
    """Run until SIGTERM or SIGINT, or until the process `parent`, which started us, is gone.

    It is named rather than asked for, since it may be gone before we come to ask.
    """
    os.umask(0o077)  # the index, its log and what the engine spills hold the events' text
    # The engine looks for pandas on the disk with every parameter it is given, half a millisecond each time.
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    # The one before us may still be ending, when the front was killed and started again at once.
    with only_process(CONFIG.data_dir, "back", wait_s=_PREDECESSOR_S):
        _run(stopping, parent)


def _run(stopping: threading.Event, parent: int | None) -> None:
    back = Back(CONFIG)
    back.start()
    _log.info("search answers at %s", CONFIG.search_socket)
    try:
        while not stopping.wait(_PARENT_LOOKS_S):
            if parent is not None and os.getppid() != parent:
                _log.warning("The front is gone; the back stops.")
                break
    finally:
        back.stop()
        _log.info("the back has stopped")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m opssentinal.back", description=__doc__)
    arguments.add_argument("--parent", type=int, help="the process whose end is ours")
    main(parent=arguments.parse_args().parent)
