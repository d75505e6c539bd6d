"""System calls of a running server that fail on purpose: strace attached to it, or to one of its threads."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import pytest

_ATTACH_S = 10


@cache
def why_not() -> str:
    """Why strace cannot inject faults here; empty if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed (Debian package strace)"
    tried = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, text=True, check=False)
    return f"ptrace is not permitted here: {tried.stderr.strip()}" if tried.returncode else ""


def require() -> None:
    """Skip the test where the environment forbids ptrace."""
    if reason := why_not():
        pytest.skip(reason)


def failing(
    tid: int, calls: str, error: str, when: str, *paths: Path, follow: bool = False
) -> AbstractContextManager[Callable[[], int]]:
    """Let system calls of thread `tid` fail with `error`; see `injecting`."""
    return injecting(tid, calls, f"error={error}", when, *paths, follow=follow)


@contextmanager
def injecting(
    tid: int, calls: str, what: str, when: str, *paths: Path, follow: bool = False
) -> Iterator[Callable[[], int]]:
    """Do `what` to system calls of thread `tid` ("error=EIO", "signal=KILL", "delay_enter=500000"), the `when`-th of each name.

    `when` is "3", "2+", "1..5" as in strace; with `paths` only calls for these files count. With `follow` all threads of its
    process, each counting for itself. Begins when strace has hold of it, with a function that tells how many calls it was done
    to; raises ProcessLookupError where it is gone.
    """
    command = [
        "strace",
        *(["-f"] if follow else []),
        *_of(paths),
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={calls}:{what}:when={when}",
    ]
    with _attached(command, tid) as trace:
        yield lambda: trace.read_text().count("INJECTED") + trace.read_text().count("(DELAYED)")


def slowly(calls: str, delay_ms: int, *paths: Path) -> tuple[str, ...]:
    """The command under which a program and its children are `delay_ms` slower at each of these calls for one of these files.

    Nothing where strace cannot do so.
    """
    if why_not():
        return ()
    inject = f"inject={calls}:delay_enter={delay_ms * 1000}"
    return (
        "strace",
        "-D",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        "/dev/null",
        *_of(paths),
        "-e",
        f"trace={calls}",
        "-e",
        inject,
    )


def _of(paths: tuple[Path, ...]) -> list[str]:
    return [part for path in paths for part in ("-P", str(path))]


@contextmanager
def _attached(command: list[str], tid: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        tracer = subprocess.Popen(
            [*command, "-o", str(trace), "-p", str(tid)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + _ATTACH_S
            while f"TracerPid:\t{tracer.pid}" not in _status(tid):
                if tracer.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(
                        f"strace did not attach: {tracer.stderr.read().decode() if tracer.stderr else ''}"
                    )
                time.sleep(0.005)
            yield trace
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
            if tracer.stderr is not None:
                tracer.stderr.close()


def _status(tid: int) -> str:
    try:
        return Path(f"/proc/{tid}/status").read_text()
    except FileNotFoundError as error:
        raise ProcessLookupError(f"{tid} is gone") from error


def thread_that(pid: int, call: str, act: Callable[[], None]) -> int:
    """Which thread of a process makes this system call while `act` runs."""
    with _attached(["strace", "-f", "-e", f"trace={call}"], pid) as trace:
        act()
        threads = {int(line.split()[0]) for line in trace.read_text().splitlines() if f" {call}(" in line}
    assert len(threads) == 1, threads
    return threads.pop()
