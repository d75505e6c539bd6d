"""What stands between a server and its database, and loses the answer to a COMMIT, or the COMMIT itself."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal

from tests.server import free_port

_CHUNK = 1 << 16


class Proxy:
    """Passes on what comes to its port, and what comes back, until `lose` is asked for. PostgreSQL without TLS."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.lost = 0
        self._target = target
        self._losing: Literal["commit", "answer"] | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, what: Literal["commit", "answer"]) -> None:
        """Cut the connection on which events are committed next: before the COMMIT has gone, or once its answer is there."""
        with self._lock:
            self._losing = what

    def close(self) -> None:
        """Take no more connections; those there are end with the servers."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._target))
                muted = threading.Event()
                threading.Thread(target=self._forth, args=(ours, theirs, muted), daemon=True).start()
                threading.Thread(target=self._back, args=(ours, theirs, muted), daemon=True).start()

    def _forth(self, ours: socket.socket, theirs: socket.socket, muted: threading.Event) -> None:
        is_appending, before = False, b""
        with suppress(OSError):
            while said := ours.recv(_CHUNK):
                is_appending = is_appending or b"INSERT INTO ledger_bundle" in before + said
                if is_appending and b"COMMIT\0" in before + said:
                    is_appending = False
                    losing = self._take()
                    if losing == "commit":
                        break
                    if losing == "answer":
                        muted.set()
                theirs.sendall(said)
                before = said[-64:]
        _end(ours, theirs)

    def _back(self, ours: socket.socket, theirs: socket.socket, muted: threading.Event) -> None:
        with suppress(OSError):
            while said := theirs.recv(_CHUNK):
                if muted.is_set():
                    break  # it has been committed, and nobody hears of it
                ours.sendall(said)
        _end(ours, theirs)

    def _take(self) -> Literal["commit", "answer"] | None:
        with self._lock:
            losing, self._losing = self._losing, None
            self.lost += losing is not None
            return losing


def _end(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
