"""A PostgreSQL cluster of our own, to be restarted, cut off and thrown away."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.server import free_port

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))


class Cluster:
    """PostgreSQL on a free port of the loopback address, in a folder that is gone with `delete`.

    PostgreSQL refuses to run as root, so root runs it as the user postgres.
    """

    def __init__(self) -> None:
        if not _BINARIES:
            pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
        self._folder = Path(tempfile.mkdtemp(prefix="opssentinal-cluster-"))
        self._user = None
        if os.getuid() == 0:
            self._user = "postgres"
            os.chown(self._folder, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)
        self.port = free_port()
        self.url = f"postgresql://opssentinal@127.0.0.1:{self.port}/postgres"
        self._run("initdb", "-U", "opssentinal", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self._control("start")

    def new_database(self) -> str:
        """The address of an empty database."""
        name = f"log_{secrets.token_hex(4)}"
        self.query(f"CREATE DATABASE {name}")
        return f"{self.url.rpartition('/')[0]}/{name}"

    def restart(self) -> None:
        """Stop at once, without a checkpoint, as a crash does; recover, and return when it answers again."""
        self._control("restart", "-m", "immediate")

    def stop(self) -> None:
        """Stop at once, as a crash does."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        """Start again, and return when it answers."""
        self._control("start")

    def cut_connections(self) -> int:
        """End every connection of the servers; return how many there were."""
        cut = self.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'opssentinal'"
        )
        return int(cut)

    def query(self, statement: str) -> str:
        """The one value that a statement gives."""
        command = [str(_BINARIES[-1] / "psql"), "-qAtX", "-c", statement, self.url]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    def delete(self) -> None:
        """Stop it and remove its folder."""
        self._control("stop", "-m", "immediate")
        shutil.rmtree(self._folder)

    def _control(self, verb: str, *args: str) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c max_connections=200"
        self._run(
            "pg_ctl", verb, *args, "-w", "-l", str(self._folder / "log"), *(("-o", options) if verb != "stop" else ())
        )

    def _run(self, program: str, *args: str) -> None:
        command = [str(_BINARIES[-1] / program), "-D", str(self._folder / "db"), *args]
        subprocess.run(
            command, check=True, cwd=self._folder, user=self._user, group=self._user, extra_groups=() if self._user else None,
            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
