"""A first start on a disk that fails: it is refused in one sentence or goes well, and the next start always goes well."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.crash import injection
from tests.server import REPOSITORY, ServerProcess

# Every call for the secret and the address; of the hundreds that make the tables one in the middle of each name, and of what is
# made as the secret is only one too; all of them with STARTS=all in the shell.
ALL = os.environ.get("STARTS") == "all"
_CALLS = ("write", "fsync", "rename", "link", "pwrite64")
_LINE = re.compile(r"^(\w+)\((.*)")
# What a server that runs keeps beside its database, and how long it is at least.
_FILES = {"secret.key": 64, "server.id": 32, "server.address": 20}
_PATIENCE_S = 60


class Fault(NamedTuple):
    """The `nth` call of this name that the first thread makes, and the error that it gets instead."""

    call: str
    nth: int

    @property
    def injection(self) -> str:
        """The same for strace."""
        return f"inject={self.call}:error={'EIO' if self.call == 'fsync' else 'ENOSPC'}:when={self.nth}"


def _traced(trace: Path, fault: Fault | None = None) -> list[str]:
    """The command under which a server runs. Its first thread alone is followed: elsewhere the same call is not for these files."""
    options = ["-e", fault.injection] if fault else []
    return ["strace", "-D", "-y", "-o", str(trace), "-e", f"trace={','.join(_CALLS)}", *options]


def _start(server: ServerProcess, only: str, under: list[str]) -> bool:
    """Start the server, or only its back; return whether it came up. It has ended in any case."""
    if not only:
        try:
            server.start(*under)
        except AssertionError:
            return False
        server.stop()
        return True
    command = [*under, sys.executable, "-m", "opssentinal", "serve", "--only", only]
    with server.log.open("ab") as log:
        process = subprocess.Popen(
            command, env=server.environment, cwd=REPOSITORY, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    deadline = time.monotonic() + _PATIENCE_S
    while (came_up := "search answers at" in server.log.read_text()) is (process.poll() is not None):
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.05)
    process.terminate()
    process.wait(_PATIENCE_S)
    return came_up


def _faults_of_a_start(folder: Path, only: str, *names: str) -> list[Fault]:
    """The calls that a first start makes for the files of these names in its data directory, and some of those for its tables.

    Not for those that its back makes where it starts alone, since they are the same ones.
    """
    server, trace = ServerProcess(folder / "data"), folder / "trace"
    server.log.parent.mkdir()
    assert _start(server, only, _traced(trace))
    for name in {"secret.key", "server.id"}.intersection(names):
        # A power cut cannot be had here; that its text is on disk before it has its name, can be seen.
        told = trace.read_text()
        assert 0 <= told.find(f"{name}.", told.find("fsync(")) < told.find(f'link("{server.data_dir}/{name}.'), told
    small: list[Fault] = []
    tables: dict[str, list[Fault]] = {"fsync": [], "pwrite64": []}
    made = dict.fromkeys(_CALLS, 0)
    last = ""
    for call, rest in (found.groups() for found in map(_LINE.match, trace.read_text().splitlines()) if found):
        made[call] += 1
        last = next((name for name in ("sqlite3", *_FILES, "server.new") if name in rest), last)
        if str(server.data_dir) in rest and last in names:  # what is said of the folder is about the file before it
            small.append(Fault(call, made[call]))
        elif last == "sqlite3" and call in tables:
            tables[call].append(Fault(call, made[call]))
    if only:
        return small
    return [*small, *(fault for found in tables.values() for fault in (found if ALL else [found[len(found) // 2]]))]


@pytest.mark.parametrize(
    ("only", "names", "calls"),
    [
        ("", ("secret.key", "server.new", "server.address"), {"write", "fsync", "link", "rename"}),
        ("back", ("server.id",), {"write", "fsync", "link"}),
    ],
    ids=["the whole server", "its back"],
)
def test_each_call_of_a_first_start_fails_in_turn(
    tmp_path: Path, only: str, names: tuple[str, ...], calls: set[str]
) -> None:
    """Whichever it is: a sentence and no half-written file, or a server that works; and then a start as if nothing had been."""
    injection.require()
    faults = _faults_of_a_start(tmp_path / "first", only, *names)
    assert {fault.call for fault in faults} >= calls
    if only and not ALL:
        faults = [fault for fault in faults if fault.call == "link"]
    for fault in faults:
        server, trace = ServerProcess(tmp_path / f"{fault.call}-{fault.nth}" / "data"), tmp_path / "trace"
        server.log.parent.mkdir()
        came_up = _start(server, only, _traced(trace, fault))
        assert trace.read_text().count("(INJECTED)") == 1
        if not came_up:
            _check_refusal(server, fault)
        _check_next_start(server)


def _check_refusal(server: ServerProcess, fault: Fault) -> None:
    """It ended by itself, told why, and left nothing behind that is less than whole."""
    told = server.log.read_text()
    assert "Traceback" not in told, (fault, told)
    assert re.search(r"cannot be used: .*\n.*(OPSSENTINAL_DATA_DIR|opssentinal check)", told), (fault, told)
    _check_files(server)


def _check_files(server: ServerProcess) -> None:
    """The small files are whole or not there, for their owner alone, and nothing of them lies beside them."""
    for name, size_min in _FILES.items():
        path = server.data_dir / name
        if path.exists():
            assert path.stat().st_size >= size_min, name
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, name
    if server.data_dir.exists():
        assert not [path for path in server.data_dir.iterdir() if path.suffix == ".new"]


def _check_next_start(server: ServerProcess) -> None:
    """A server that has all it needs: its secret, its name, its tables, its search."""
    if not server.data_dir.exists() or not any(server.data_dir.iterdir()):
        return  # it is a first start once more
    server.start()
    try:
        server.wait_for_search()
        assert json.loads(server.get("/readyz")[1])["ready"]
        assert server.get("/accounts/login/")[0] == 302, "nobody has an account yet: on to the first visit"
    finally:
        server.stop()
    _check_files(server)
    assert all((server.data_dir / name).exists() for name in _FILES)


def test_an_empty_file_is_told_and_not_replaced(tmp_path: Path) -> None:
    """What an older version lost in a power cut: the operator hears which file it is, since another key would not read the secrets."""
    with ServerProcess(tmp_path / "data") as server:
        server.wait_for_search()
    for name in ("secret.key", "server.id"):
        (server.data_dir / name).write_bytes(b"")
    with pytest.raises(AssertionError, match=r"secret\.key is empty\.\nRestore it from a backup, or remove it"):
        server.start()
    assert (server.data_dir / "secret.key").read_bytes() == b""
    (server.data_dir / "secret.key").unlink()
    with server:  # the name is the back's, and the front goes on
        deadline = time.monotonic() + 30
        while "server.id is empty" not in server.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (server.data_dir / "server.id").unlink()
        server.wait_for_search()


# Notes of migrations fail, from the one with this number on.
_FORGETFUL = """
import django, sys
django.setup()
from django.db.migrations.recorder import MigrationRecorder
from opssentinal.serve import prepare
record, left = MigrationRecorder.record_applied, [int(sys.argv[1])]
def forget(self, *names):
    left[0] -= 1
    if left[0] < 0:
        raise OSError("the disk is gone")
    record(self, *names)
MigrationRecorder.record_applied = forget
prepare()
"""


@pytest.mark.parametrize("noted", [0, 5])
def test_a_first_start_that_ends_between_a_table_and_its_note(tmp_path: Path, noted: int) -> None:
    """Nothing is left of the tables, so that the next start makes them all."""
    server = ServerProcess(tmp_path / "data")
    environment = server.environment | {"DJANGO_SETTINGS_MODULE": "opssentinal.settings"}
    made = subprocess.run(
        [sys.executable, "-c", _FORGETFUL, str(noted)],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the disk is gone" in made.stderr
    with closing(sqlite3.connect(server.data_dir / "opssentinal.sqlite3")) as database:
        assert database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == []
    with server:
        server.wait_for_search()
