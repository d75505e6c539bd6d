"""Real processes, each with a data directory of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(data_dir: Path) -> dict[str, str]:
    """The environment of a command: nothing of ours but where its log is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPSSENTINAL_", "DJANGO_"))}
    return kept | {"OPSSENTINAL_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}


def command(*args: str) -> list[str]:
    """The command line of `opssentinal …` with this interpreter."""
    return [sys.executable, "-m", "opssentinal", *args]


def run(*args: str, data_dir: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    env = environment(data_dir) | options.pop("env", {})
    options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
    if "input" in options:
        del options["stdin"]
    return subprocess.run(command(*args), env=env, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.fixture(scope="session")
def _empty_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty-log")
    done = run("migrate", data_dir=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def data_dir(_empty_log: Path, tmp_path: Path) -> Path:
    """A data directory with an empty log."""
    return Path(shutil.copytree(_empty_log, tmp_path / "data"))


@pytest.fixture
def cli(data_dir: Path) -> Cli:
    """Run `opssentinal …` on the log in `data_dir`."""

    def run_here(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return run(*args, data_dir=data_dir, **options)

    return run_here
