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
import time
import traceback
from collections import deque
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
# Of bodies that are asked about together: to ask costs as much as decoding some fifty events.
_TOGETHER_BYTES = 256 * 1024

log = logging.getLogger(__name__)


class _Body(NamedTuple):
    """What is asked about a body."""

    principal: KeyPrincipal
    content: bytes
    content_type: str
    content_encoding: str


_Prepared = Submission | Exception


class Preparers:
    """At most `count` processes that turn bodies into submissions, each with a thread here that waits for its answers.

    A process is started when a body comes for it, and again where it has ended or does not answer; it ends when we do. Bodies that
    come while all are busy are asked about together. Belongs to one event loop. Call `close()` when no body can come any more.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="ingest-preparer")
        self._free = count
        self._waiting: deque[tuple[_Body, asyncio.Future[_Prepared]]] = deque()
        self._asking: set[asyncio.Task[None]] = set()
        self._of_thread = threading.local()
        self._processes: list[_Process] = []

    async def submission(
        self, principal: KeyPrincipal, body: bytes, content_type: str, content_encoding: str
    ) -> Submission:
        """Split, decode, bind and encode a body. Raises what `split` does, and Unavailable where there is no process for it."""
        loop = asyncio.get_running_loop()
        prepared: asyncio.Future[_Prepared] = loop.create_future()
        self._waiting.append((_Body(principal, body, content_type, content_encoding), prepared))
        if self._free:
            self._free -= 1
            task = loop.create_task(self._ask_about_waiting())
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        answer = await prepared
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Wait for what is being prepared and end the processes."""
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    async def _ask_about_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while portion := self._next_portion():
                answers: list[_Prepared]
                try:
                    answers = await loop.run_in_executor(self._threads, self._ask, [body for body, _ in portion])
                except Exception as error:  # noqa: BLE001 - raised to each who asked
                    answers = [error] * len(portion)
                for (_, prepared), answer in zip(portion, answers, strict=True):
                    if not prepared.done():  # else its request was given up
                        prepared.set_result(answer)
        finally:
            self._free += 1

    def _next_portion(self) -> list[tuple[_Body, asyncio.Future[_Prepared]]]:
        """What waits, as far as it is small enough to be asked about together: what is packed may be any length."""
        portion: list[tuple[_Body, asyncio.Future[_Prepared]]] = []
        room = _TOGETHER_BYTES
        while self._waiting:
            body = self._waiting[0][0]
            room -= _TOGETHER_BYTES if body.content_encoding else len(body.content)
            if portion and room < 0:
                break
            portion.append(self._waiting.popleft())
        return portion

    def _ask(self, bodies: list[_Body]) -> list[_Prepared]:
        # Preparing changes nothing, so it can be done again where a process ended over it: each alone, so that one body which
        # ends the process takes as few others along as may be.
        try:
            return self._process().ask(bodies)
        except (EOFError, OSError) as error:
            self._forget_process(error)
        answers: list[_Prepared] = []
        until = time.monotonic() + ANSWER_TIMEOUT_S
        for body in bodies:
            answer: _Prepared = Unavailable("Batches cannot be prepared at the moment.", hint="Try again.")
            if time.monotonic() < until:
                try:
                    [answer] = self._process().ask([body])
                except (EOFError, OSError) as error:
                    self._forget_process(error)
            answers.append(answer)
        return answers

    def _process(self) -> _Process:
        process: _Process | None = getattr(self._of_thread, "process", None)
        if process is None:
            process = self._of_thread.process = _Process()
            self._processes.append(process)
        return process

    def _forget_process(self, reason: Exception) -> None:
        log.error("A process that prepares batches ended, did not answer or could not be started: %r", reason)
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

    def ask(self, bodies: list[_Body]) -> list[_Prepared]:
        """Raises EOFError or OSError where the process has ended or does not answer; then it is of no more use."""
        self._connection.send(bodies)
        answers: list[_Prepared] = self._connection.recv()
        return answers

    def close(self) -> None:
        self._connection.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _prepare(body: _Body) -> _Prepared:
    try:
        submission = Submission.of(split(body.content, body.content_type, body.content_encoding), body.principal)
        submission.encode()
    except OpsSentinalError as error:
        return error
    except Exception:  # noqa: BLE001 - raised and logged in the process that asked
        return RuntimeError(f"A batch could not be prepared: {traceback.format_exc()}")
    return submission


def main() -> None:
    """Answer questions from the connection whose number is the first argument, until it ends."""
    # A batch is tens of thousands of objects that lead back to nothing; looking for circles took longer than decoding.
    gc.freeze()
    gc.set_threshold(50_000, 10, 100)
    with Connection(int(sys.argv[1])) as connection:
        try:
            while True:
                connection.send(list(map(_prepare, connection.recv())))
        except (EOFError, OSError):
            return  # whoever asked has gone


if __name__ == "__main__":
    main()
