"""Running the server: prepare the database, keep the back process alive, and serve the front until told to stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from opssentinal.errors import ConfigError

log = logging.getLogger(__name__)

GRACEFUL_STOP_S = 15
_MIGRATION_LOCK = 0x6F707373  # "opss"
_RESTART_PAUSES_S = (0.2, 1, 2, 5, 10, 30)
_STABLE_S = 60
_OTHER_FILES = 256  # the database, the search socket, the process itself


def prepare() -> None:
    """Create or upgrade the tables. Servers that start at the same time on one PostgreSQL take turns."""
    settings.CONFIG.data_dir.mkdir(parents=True, exist_ok=True)
    if connection.vendor != "postgresql":
        _migrate()
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_MIGRATION_LOCK])
        try:
            _migrate()
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_MIGRATION_LOCK])


def _migrate() -> None:
    """Bring the tables to this version, all of them or none.

    Django makes a table in one transaction and notes in another that it did: ended in between, no later start would get
    beyond "table already exists". An upgrade on PostgreSQL goes Django's way all the same: rows that one migration changed
    and whose references are checked at the end would keep the next one from changing their table.
    """
    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    if connection.vendor == "postgresql" and executor.loader.applied_migrations:
        call_command("migrate", verbosity=0, interactive=False)
        return
    # SQLite changes tables only while it does not check references, which cannot be said inside a transaction.
    with connection.constraint_checks_disabled(), transaction.atomic():
        call_command("migrate", verbosity=0, interactive=False)


class Back:
    """The back process as our child: started again whenever it ends, until `stop`.

    It ends by itself when we die, so that no orphan holds the search file.
    """

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_alive, name="back-supervisor", daemon=True)

    def start(self) -> None:
        """Start the process and watch over it from a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the process to stop, wait, and kill it if it does not."""
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(GRACEFUL_STOP_S)
            except subprocess.TimeoutExpired:
                log.error("The back process does not stop; it is killed. Search catches up at the next start.")
                process.kill()
        self._thread.join(GRACEFUL_STOP_S)

    def _keep_alive(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            # A group of its own: Ctrl-C reaches us alone, and we stop it in our order.
            command = [sys.executable, "-m", "opssentinal.back", "--parent", str(os.getpid())]
            process = self._process = subprocess.Popen(command, start_new_session=True)
            started = time.monotonic()
            status = process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > _STABLE_S:
                failures = 0
            pause_s = _RESTART_PAUSES_S[min(failures, len(_RESTART_PAUSES_S) - 1)]
            log.error("The back process ended with status %s; it starts again in %s s.", status, pause_s)
            failures += 1
            self._stopping.wait(pause_s)


def _allow_files(wanted: int) -> None:
    """Let this process have as many files open as its connections need, as far as the system lets it decide."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("Only %s files may be open, fewer than OPSSENTINAL_MAX_CONNECTIONS needs (ulimit -n).", allowed)


class _Server(uvicorn.Server):
    """uvicorn, with a word to the person who started it once it listens."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            await asyncio.to_thread(self._on_listening)  # it asks the database, which Django refuses on the loop


def bind(host: str, port: int) -> list[socket.socket]:
    """Take the port on every address that the host has, before anything is made; nobody is answered yet.

    Raises ConfigError where that cannot be.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"There is no host {host}.", hint="Name an address of this machine with --host or OPSSENTINAL_HOST."
        ) from error
    return [_bound(family, address, host, port) for family, _, _, _, address in dict.fromkeys(found)]


def _bound(family: int, address: Any, host: str, port: int) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        is_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise ConfigError(
            f"The server cannot listen on {host}, port {port}: {os.strerror(error.errno or 0)}.",
            hint="Choose another one with --port or OPSSENTINAL_PORT."
            if is_port
            else "Name an address of this machine with --host or OPSSENTINAL_HOST.",
        ) from error
    return listening


def serve_front(sockets: list[socket.socket], on_listening: Callable[[], None]) -> bool:
    """Serve on these sockets until SIGTERM or SIGINT; return whether the server ever listened."""
    from opssentinal.front import Front

    _allow_files(settings.CONFIG.max_connections + _OTHER_FILES)
    front = Front()
    server = _Server(
        uvicorn.Config(
            front,
            loop="uvloop" if sys.platform != "win32" else "asyncio",
            http=front.connection,  # type: ignore[arg-type]  # a class for uvicorn is what makes them
            limit_concurrency=settings.CONFIG.max_connections,
            lifespan="on",
            access_log=False,
            log_config=None,
            proxy_headers=False,  # the client's address is decided in workspace.principals
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACEFUL_STOP_S,
            backlog=4096,
        ),
        on_listening,
    )
    server.run(sockets)
    return server.started
