"""`opssentinal serve`: set up whatever is missing, then run the server."""

from __future__ import annotations

import signal
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from opssentinal.errors import ConfigError
from opssentinal.instance import address_of, leave_address, only_process
from opssentinal.serve import Back, bind, prepare, serve_front


class Command(BaseCommand):
    """Run the server: pages, API, search and the scheduled work."""

    help = "Run the server: pages, API, search and the scheduled work. Creates the data directory on first start."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", help="address to listen on (default: OPSSENTINAL_HOST, else 127.0.0.1)")
        parser.add_argument("--port", type=int, help="port to listen on (default: OPSSENTINAL_PORT, else 8000)")
        parser.add_argument(
            "--only",
            choices=("front", "back"),
            help="run one of the two processes, where each is a unit or container of its own on one host",
        )

    def handle(self, *, host: str | None, port: int | None, only: str | None, **options: Any) -> None:
        # uvicorn raises the signal that stopped it once more; by default that would end us before the back is stopped.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(0))
        if port is not None and not 1 <= port <= 65_535:
            raise ConfigError(f"There is no port {port}.", hint="Ports go from 1 to 65535.")
        if only == "back":
            from opssentinal.back import main as back

            prepare()
            back()
            return
        host, port = host or settings.CONFIG.host, port or settings.CONFIG.port
        sockets = bind(host, port)
        prepare()
        back_process = None if only == "front" else Back()
        with only_process(settings.CONFIG.data_dir, "front"):
            leave_address(settings.CONFIG.data_dir, address_of(host, port))
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            announcement = self._announcement(address)  # asked of the database before the event loop runs
            self._serve(sockets, announcement, back_process)

    def _serve(self, sockets: list[socket.socket], announcement: str, back_process: Back | None) -> None:
        if back_process is not None:
            back_process.start()
        try:
            if not serve_front(sockets, lambda: self._say(announcement)):
                raise ConfigError("The server could not start.", hint="Its log, above, says why.")
        finally:
            if back_process is not None:
                back_process.stop()

    def _announcement(self, address: str) -> str:
        from opssentinal.workspace.setup import setup_token

        token = setup_token()
        link = f"{settings.CONFIG.base_url}/setup?token={token}"
        first_visit = f"\nCreate the first admin here:\n\n    {link}\n" if token else ""
        return f"OpsSentinal is listening on {address} (stop it with Ctrl-C){first_visit}"

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
