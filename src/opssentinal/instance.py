"""One front and one back per data directory, and the name under which its server takes work among several on one database."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opssentinal.errors import ConfigError


@contextmanager
def only_process(data_dir: Path, role: str, wait_s: float = 0) -> Iterator[None]:
    """Be the only process of this role ("front" or "back") on the data directory; the system ends that with the process.

    Raises ConfigError where another one still is after `wait_s` seconds. Two of them would take each other's socket.
    """
    deadline = time.monotonic() + wait_s
    with (data_dir / f"{role}.lock").open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise ConfigError(
                        f"Another server runs on the data directory {data_dir}.",
                        hint="Stop it first, or give this one a directory of its own with OPSSENTINAL_DATA_DIR.",
                    ) from error
                time.sleep(0.1)
        yield


def server_id(data_dir: Path) -> str:
    """The name of this data directory's server, 32 characters; made on first use and kept, so that it survives a restart."""
    path = data_dir / "server.id"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(f".{os.getpid()}-{secrets.token_hex(4)}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(16))
        try:
            os.link(fresh, path)  # of two processes that start at once both read the same
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()
