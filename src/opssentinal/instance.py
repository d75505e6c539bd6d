"""One front and one back per data directory, the name under which its server takes work among several on one database, and its address."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

from opssentinal.errors import ConfigError

_ADDRESS_FILE = "server.address"


def unusable(data_dir: Path, error: OSError) -> ConfigError:
    """What to say where a file of the data directory cannot be made."""
    return ConfigError(
        f"The data directory {data_dir} cannot be used: {error.strerror}.", hint="Set OPSSENTINAL_DATA_DIR."
    )


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


def address_of(host: str, port: int) -> str:
    """The address at which a server that listens there is reached on its own machine."""
    try:
        if (listened := ip_address(host)).is_unspecified:
            host = "127.0.0.1" if listened.version == 4 else "::1"
    except ValueError:
        pass  # a name
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def leave_address(data_dir: Path, address: str) -> None:
    """Tell the commands on the data directory where its server is reached; it stays for those that run after its end."""
    path = data_dir / _ADDRESS_FILE
    fresh = path.with_suffix(".new")  # only one front writes
    try:
        fresh.write_text(address + "\n")
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise unusable(data_dir, error) from error


def left_address(data_dir: Path) -> str:
    """The address that the data directory's server left when it was started last, or ""."""
    try:
        return (data_dir / _ADDRESS_FILE).read_text().strip()
    except OSError:  # none was, or the directory is not for us, as other things will say
        return ""


def server_id(data_dir: Path) -> str:
    """The name of this data directory's server, 32 characters; made on first use and kept, so that it survives a restart."""
    try:
        return made_once(data_dir / "server.id", lambda: secrets.token_hex(16))
    except OSError as error:
        raise unusable(data_dir, error) from error


def made_once(path: Path, make: Callable[[], str]) -> str:
    """The text of a small private file, made on first use; of processes that start at once all read the same.

    It is on disk whole before it has its name, since a key that only memory held would be gone with the power, and with it
    what it encrypted meanwhile. Raises OSError where it cannot be made or read, ConfigError where there is nothing in it.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.new")
        try:
            with open(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was first
                os.link(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        _sync_folder(path.parent)
    if text := path.read_text().strip():
        return text
    raise ConfigError(
        f"{path} is empty.",
        hint="Restore it from a backup, or remove it to have another one made: docs/guide/configuration.md says what that costs.",
    )


def _sync_folder(folder: Path) -> None:
    """Return when the names in it are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
