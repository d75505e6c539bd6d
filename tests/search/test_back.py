"""The back as a process of its own: it answers, ends cleanly when told, and never outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from opssentinal.errors import Unavailable
from opssentinal.search.client import SearchClient

_PATIENCE_S = 60
# Starts the back as `opssentinal serve` does, says its process id, and waits to be killed.
_PARENT = (
    "import os, subprocess, sys, time;"
    "back = subprocess.Popen([sys.executable, '-m', 'opssentinal.back', '--parent', str(os.getpid())], start_new_session=True);"
    "print(back.pid, flush=True);"
    "time.sleep(600)"
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A data directory with the tables made."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPSSENTINAL_")}
    made = kept | {"OPSSENTINAL_DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "opssentinal.settings"}
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=made, check=True, timeout=120)
    return made


def wait_until(reached: object) -> None:
    """Ask now and then until it is so."""
    deadline = time.monotonic() + _PATIENCE_S
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(folder: Path) -> bool:
    """Whether search answers."""
    try:
        return [task.name for task in SearchClient(folder / "back.sock").status().tasks] != []
    except Unavailable:
        return False


@contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Leave nothing behind when a test fails."""
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_cleanly_when_told(environment: dict[str, str], tmp_path: Path, number: int) -> None:
    """A signal ends the back with status 0, without socket or log of the index left behind."""
    back = subprocess.Popen([sys.executable, "-m", "opssentinal.back"], env=environment, text=True)
    with killed_at_the_end(back):
        wait_until(lambda: answers(tmp_path))
        back.send_signal(number)
        assert back.wait(_PATIENCE_S) == 0
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(("back", "search"))} == {
        "back.lock", "search.duckdb",
    }  # fmt: skip


def test_ends_with_its_parent(environment: dict[str, str], tmp_path: Path) -> None:
    """When the process that started it is killed, the back ends by itself and lets go of the index."""
    with killed_at_the_end(
        subprocess.Popen([sys.executable, "-c", _PARENT], env=environment, text=True, stdout=subprocess.PIPE)
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: answers(tmp_path))
        parent.kill()
        parent.wait()

        def is_gone() -> bool:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            return False

        wait_until(lambda: is_gone() or not answers(tmp_path) and not (tmp_path / "back.sock").exists())


def test_starts_after_a_crash(environment: dict[str, str], tmp_path: Path) -> None:
    """Killed without warning, the back starts again over what it left, stale socket included."""
    for _ in range(2):
        back = subprocess.Popen([sys.executable, "-m", "opssentinal.back"], env=environment, text=True)
        with killed_at_the_end(back):
            wait_until(lambda: answers(tmp_path))
            back.kill()
            back.wait()
        assert (tmp_path / "back.sock").exists()
