"""The real server as a process, for tests that click through it, load it or kill it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from opssentinal.config import load
from opssentinal.search.client import SearchClient

REPOSITORY = Path(__file__).parents[1]
_START_TIMEOUT_S = 60


def free_port() -> int:
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children_of(pid: int) -> list[int]:
    """The process ids of a process's children, whichever of its threads started them."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has just ended, and its children are another one's
            found += map(int, (thread / "children").read_text().split())
    return found


class ServerProcess:
    """`opssentinal serve` with a data directory of its own."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("OPSSENTINAL_", "DJANGO_ALLOW"))
        }
        if os.environ.get("OPSSENTINAL_DATABASE_URL") and "OPSSENTINAL_DATABASE_URL" not in environment:
            kept["OPSSENTINAL_DATABASE_URL"] = os.environ["OPSSENTINAL_DATABASE_URL"]
        self.environment = kept | {
            "OPSSENTINAL_DATA_DIR": str(data_dir),
            "OPSSENTINAL_BASE_URL": self.url,
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.log = data_dir.with_name(data_dir.name + ".log")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *under: str, ready: int = 200) -> None:
        """Start and return when `/readyz` answers, with 200 or `ready`; raises with the log's end if it does not come up.

        `under` is a command that runs the server and lets it be our child, as `strace -D` does.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*under, sys.executable, "-m", "opssentinal", "serve", "--port", str(self.port)],
                env=self.environment,
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.get("/readyz")[0] in (200, ready):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"The server did not start:\n{self.log.read_text()[-4000:]}")

    def wait_for_search(self) -> None:
        """Return when the back process answers and has caught up."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            status, body = self.get("/readyz")
            if status == 200:
                ready = json.loads(body)
                search = ready["search"]
                if (
                    search.get("available")
                    and not search["rebuilding"]
                    and search["position"] == ready["ledger"]["size"]
                ):
                    return
            time.sleep(0.1)
        raise AssertionError(f"Search did not come up:\n{self.log.read_text()[-4000:]}")

    def stop(self) -> None:
        """Stop as an operator does and return when the process has ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    def kill(self) -> None:
        """kill -9 the front. The back notices that its parent is gone and ends."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    @property
    def pid(self) -> int:
        """The front's process id."""
        assert self._process is not None
        return self._process.pid

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """GET a path; return the status and the body."""
        return self.request("GET", path, headers=headers)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send one request on a connection of its own; return the status and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def command(
        self, *args: str, check: bool = True, stdin: str = "", timeout_s: float = 120, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run an `opssentinal` command on this server's data directory."""
        done = subprocess.run(
            [sys.executable, "-m", "opssentinal", *args],
            check=False,
            env=self.environment | environment,
            cwd=REPOSITORY,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if check and done.returncode:
            raise AssertionError(
                f"opssentinal {' '.join(args)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done

    def api_key(self, *scopes: str, source: str = "tests") -> str:
        """Create an API key with the command and return its token."""
        args = [part for scope in scopes for part in ("--scope", scope)]
        done = self.command("apikey", "create", source, "--source", source, *args, "--json")
        return str(json.loads(done.stdout)["token"])

    def api_size(self) -> int:
        """How many events the ledger holds."""
        return int(json.loads(self.get("/readyz")[1])["ledger"]["size"])

    def children(self) -> list[int]:
        """The process ids of the front's children, the back process among them."""
        return children_of(self.pid)

    def back(self) -> int | None:
        """The process id of the back; None while it is being started again."""
        for child in self.children():
            with suppress(OSError):
                if b"opssentinal.back" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    return child
        return None

    def run_tasks(self, *names: str) -> None:
        """Have scheduled work of the back run now, and return when it has; fails if a task did."""
        search = SearchClient(load(self.environment).search_socket)
        before = {task.name: task.runs for task in search.status().tasks}
        for name in names:
            search.poke(name)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            tasks = {task.name: task for task in search.status().tasks}
            assert all(tasks[name].last_error is None for name in names), tasks
            if all(tasks[name].runs > before[name] and not tasks[name].running for name in names):
                return
            assert time.monotonic() < deadline, tasks
            time.sleep(0.02)

    def api(self, path: str, token: str) -> Any:
        """GET a path of the API as JSON; fails unless it is 200."""
        status, body = self.get(path, {"Authorization": f"Bearer {token}"})
        assert status == 200, body
        return json.loads(body)
