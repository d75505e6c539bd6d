"""The wall clock of a real server, set by hand: a library preloaded into all of its processes."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("wall_clock.c")


def require() -> None:
    """Skip the test where there is no C compiler."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler (Debian packages gcc and libc6-dev)")


class WallClock:
    """How far off a server's wall clock is; processes with `environment` see a change at once, as they do when a date is set."""

    def __init__(self, folder: Path) -> None:
        require()
        self._file, library = folder / "wall_clock.offset", folder / "wall_clock.so"
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(self._file)}
        self._file.write_bytes(bytes(8))
        command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(_SOURCE)]
        subprocess.run(command, check=True, timeout=60)

    def jump_to(self, off: timedelta) -> None:
        """Be so far ahead of the true time from now on, or behind it where that is negative."""
        # In one write of eight aligned bytes: nobody reads half of it.
        file = os.open(self._file, os.O_WRONLY)
        try:
            os.pwrite(file, struct.pack("=q", off // timedelta(microseconds=1)), 0)
        finally:
            os.close(file)
