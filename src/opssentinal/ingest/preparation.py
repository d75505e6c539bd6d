"""Batches are unpacked, decoded and encoded in processes of their own, beside the one that answers and commits.

That is two thirds of the work on an event. In the server's own process it would share one core with everything else there.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NamedTuple

from opssentinal.apikeys.principal import KeyPrincipal
from opssentinal.errors import OpsSentinalError, Unavailable
from opssentinal.ingest.body import split
from opssentinal.ingest.operation import Submission

# A body takes a fraction of a second. Twice this, since it is tried twice, is less than a server that stops waits for its requests.
ANSWER_TIMEOUT_S = 6
_END_TIMEOUT_S = 2

log = logging.getLogger(__name__)


class Fault(NamedTuple):
    """A fault of ours in the other process, as text."""

    traceback: str


class Preparers:
    """At most `count` processes that turn bodies into submissions, each with a thread here that waits for its answers.

    A process is started when a body comes for it, and again where it has ended or does not answer; it ends when we do. Call `close()` when no
    body can come any more.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="ingest-preparer")
        self._of_thread = threading.local()
        self._processes: list[_Process] = []

    async def submission(
        self, principal: KeyPrincipal, body: bytes, content_type: str, content_encoding: str
    ) -> Submission:
        """Split, decode, bind and encode a body. Raises what `split` does, and Unavailable where there is no process for it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._ask, principal, body, content_type, content_encoding)

    def close(self) -> None:
        """Wait for what is being prepared and end the processes."""
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    def _ask(self, *question: object) -> Submission:
        # Preparing changes nothing, so it can be done again where a process was killed over it.
        for is_last in (False, True):
            try:
                answer = self._process().ask(question)
                break
            except (EOFError, OSError) as error:
                self._forget_process()
                log.error("A process that prepares batches ended, did not answer or could not be started: %r", error)
                if is_last:
                    raise Unavailable("Batches cannot be prepared at the moment.", hint="Try again.") from error
        if isinstance(answer, Submission):
            return answer
        if isinstance(answer, OpsSentinalError):
            raise answer
        raise RuntimeError(f"A batch could not be prepared: {answer}")

    def _process(self) -> _Process:
        process: _Process | None = getattr(self._of_thread, "process", None)
        if process is None:
            process = self._of_thread.process = _Process()
            self._processes.append(process)
        return process

    def _forget_process(self) -> None:
        process: _Process | None = getattr(self._of_thread, "process", None)
        if process is not None:
            self._of_thread.process = None
            self._processes.remove(process)
            process.close()


class _Process:
    """A process that answers one question after the other."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        # A process that neither reads nor writes is an OSError here, like one that has ended.
        with socket.socket(fileno=os.dup(self._connection.fileno())) as ours:
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", ANSWER_TIMEOUT_S, 0))
        with theirs:
            # A session of its own: Ctrl-C reaches us alone, and its end is the end of the connection.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "opssentinal.ingest.preparation", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def ask(self, question: tuple[object, ...]) -> object:
        """Raises EOFError or OSError where the process has ended or does not answer; then it is of no more use."""
        self._connection.send(question)
        return self._connection.recv()

    def close(self) -> None:
        self._connection.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _prepared(
    principal: KeyPrincipal, body: bytes, content_type: str, content_encoding: str
) -> Submission | OpsSentinalError | Fault:
    try:
        submission = Submission.of(split(body, content_type, content_encoding), principal)
        submission.encode()
    except OpsSentinalError as error:
        return error
    except Exception:  # noqa: BLE001
        return Fault(traceback.format_exc())  # goes on in the process that asked, where it is logged
    return submission


def main() -> None:
    """Answer questions from the connection whose number is the first argument, until it ends."""
    # A batch is tens of thousands of objects that lead back to nothing; looking for circles took longer than decoding.
    gc.freeze()
    gc.set_threshold(50_000, 10, 100)
    with Connection(int(sys.argv[1])) as connection:
        try:
            while True:
                connection.send(_prepared(*connection.recv()))
        except (EOFError, OSError):
            return  # whoever asked has gone


if __name__ == "__main__":
    main()
