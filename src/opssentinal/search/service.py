"""The search service: answers questions over a Unix socket in the back process.

One event loop for the sockets, threads for the engine (which lets go of the interpreter while it works). A question is
stopped when its client goes away or its time is over; a bounded number is worked on at once, a bounded number waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from opssentinal.errors import OpsSentinalError, Overloaded, Unavailable
from opssentinal.followers.runner import Runner
from opssentinal.search import wire
from opssentinal.search.answers import Page, Status
from opssentinal.search.feed import Feed
from opssentinal.search.index import Index
from opssentinal.search.interruption import Interruption
from opssentinal.search.store import Corrupt, GivenUp, SearchStore

_log = logging.getLogger(__name__)

QUESTIONS_AT_ONCE: Final = 4
EXPORTS_AT_ONCE: Final = 2
# Where search stands is also asked while every other place is taken by slow questions.
STATUS_AT_ONCE: Final = 2
WAITING_MAX: Final = 64
WAIT_S: Final = 5.0
_QUESTION_BYTES_MAX: Final = 1 << 20
_STOP_AGAIN_S: Final = 0.05

Progress = Callable[[int, int], None]


class SearchService:
    """Serves an Index that a Feed keeps up. `start` returns when the socket listens; `stop` ends every question."""

    def __init__(self, socket: Path, index: Index, feed: Feed, runner: Runner, *, timeout_s: float) -> None:
        self._socket = socket
        self._index = index
        self._feed = feed
        self._runner = runner
        self._timeout_s = timeout_s
        self._short = _Lane(QUESTIONS_AT_ONCE, "question")
        self._long = _Lane(EXPORTS_AT_ONCE, "export")
        self._quick = _Lane(STATUS_AT_ONCE, "status")
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._failure: OSError | None = None
        self._ending: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="search-service", daemon=True)

    def start(self) -> None:
        """Listen. Raises OSError where the socket cannot be made."""
        self._thread.start()
        self._listening.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Withdraw every question and close the socket."""
        if self._ending is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._failure = error
        finally:
            self._short.close()
            self._long.close()
            self._quick.close()
            self._loop.close()
            self._listening.set()

    async def _serve(self) -> None:
        self._ending = asyncio.Event()
        self._socket.unlink(missing_ok=True)
        mask = os.umask(0o177)  # the socket is ours alone from its first moment
        try:
            server = await asyncio.start_unix_server(self._accept, self._socket, backlog=128)
        finally:
            os.umask(mask)
        made = self._socket.stat().st_ino
        self._tasks: set[asyncio.Task[Any]] = set()
        self._listening.set()
        try:
            await self._ending.wait()
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with suppress(FileNotFoundError):
                if self._socket.stat().st_ino == made:
                    self._socket.unlink()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, which is its right
        except asyncio.CancelledError:
            pass  # we are stopping; the client sees its connection end
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one question, answer it, and be gone."""
        (length,) = wire.LENGTH.unpack(await reader.readexactly(wire.LENGTH.size))
        try:
            if length > _QUESTION_BYTES_MAX:
                raise Unavailable("The question is too long.")
            question = wire.read_question(await reader.readexactly(length))
            reply: wire.AnyReply = await self._answer(question, reader, writer)
        except OpsSentinalError as error:
            reply = wire.failure_of(error)
        except Corrupt as error:
            _log.error("The search index is damaged: %s", error)
            reply = wire.failure_of(
                Unavailable("The search index is damaged and is being built again.", code="rebuilding")
            )
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001
            _log.exception("A question could not be answered.")
            reply = wire.failure_of(Unavailable(f"Search failed: {type(error).__name__}."))
        writer.write(wire.frame(reply))
        await writer.drain()

    async def _answer(
        self, question: wire.AnyQuestion, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> wire.Answer:
        stop = Interruption()
        done_of = [0, 0]

        def progress(done: int, total: int) -> None:
            stop.check()
            done_of[:] = [done, total]

        is_long = isinstance(question, wire.ExportQuestion | wire.ReindexQuestion)
        is_quick = isinstance(question, wire.StatusQuestion | wire.Poke)
        lane = self._long if is_long else self._quick if is_quick else self._short
        async with lane.place():
            work = self._loop.run_in_executor(lane.threads, self._work, question, stop, progress)
            gone = asyncio.ensure_future(reader.read(1))  # a client says nothing more: this ends when it closes
            deadline = None if is_long else self._loop.time() + self._timeout_s
            last_beat, last_said = self._loop.time(), [0, 0]
            try:
                while not work.done():
                    due = wire.HEARTBEAT_S if deadline is None else min(wire.HEARTBEAT_S, deadline - self._loop.time())
                    await asyncio.wait(
                        [work, gone], timeout=max(min(due, 0.25), 0), return_when=asyncio.FIRST_COMPLETED
                    )
                    if work.done():
                        break
                    if gone.done():
                        raise ConnectionResetError
                    now = self._loop.time()
                    if deadline is not None and now >= deadline:
                        stop.cancel("query_timeout")
                        break
                    if done_of != last_said or now - last_beat >= wire.HEARTBEAT_S:
                        last_beat, last_said = now, list(done_of)
                        writer.write(wire.frame(wire.Progress(*last_said)))
                        await writer.drain()
            finally:
                gone.cancel()
                await _ended(work, stop)
            return wire.Answer(msgspec.Raw(msgspec.json.encode(work.result())))

    def _work(self, question: wire.AnyQuestion, stop: Interruption, progress: Progress) -> Any:
        """Answer in a thread."""
        match question:
            case wire.StatusQuestion():
                return self.status()
            case wire.Poke():
                return self._runner.poke(question.task)
            case wire.ReindexQuestion():
                return self._feed.successor.build(progress, stop)
        reached = self._feed.catch_up(min(self._timeout_s, 10.0))
        stop.check()
        with self._reading() as store:
            # It may be another store by now, which lacks some of what that one had.
            is_complete = reached is not None and store.position >= reached
            may_lack_some = isinstance(question, wire.PageQuestion) and self._feed.is_nearly_there(store.position)
            if not may_lack_some and not _reaches(store, question, is_complete):
                # A page can say that it lacks the last events. One that lacks most of them looks like an empty log, and a count
                # or a file that lacks any like a whole one.
                raise Unavailable(
                    "The search index does not reach so far yet.",
                    hint="Try again later; the API and `opssentinal tail` read the log itself in recorded order.",
                    code="rebuilding",
                )
            answer = _ask(store, question, stop, progress)
        if isinstance(answer, Page):
            answer.complete = answer.complete and is_complete
        return answer

    @contextmanager
    def _reading(self) -> Iterator[SearchStore]:
        """The store in use. Damage that is met in it is the feed's to mend; by then another one may be in use."""
        with self._index.reading() as store:
            try:
                yield store
            except (Corrupt, GivenUp) as damage:
                self._feed.report(store, damage)
                raise

    def status(self) -> Status:
        """Where search stands; answers also while there is no index."""
        feed = self._feed
        if feed.error is None:  # else it is told at once
            feed.catch_up(1.0)
        is_open, position, rows, file_bytes = False, 0, 0, 0
        with suppress(Unavailable), self._reading() as store:
            rows, file_bytes = store.rows(), store.file_bytes()
            is_open, position = True, store.position
        return Status(
            position=position,
            ledger_size=max(feed.ledger_size, position),
            # Also one that cannot even be begun. Where all goes well, a stream may be far ahead of it for a moment.
            rebuilding=(
                not is_open or feed.is_rebuilding or (feed.error is not None and not feed.is_nearly_there(position))
            ),
            rows=rows,
            file_bytes=file_bytes,
            reindexing=feed.successor.is_made,
            error=feed.error,
            tasks=self._runner.status(),
        )


def _reaches(store: SearchStore, question: wire.AnyQuestion, is_complete: bool) -> bool:
    """Whether the store has all that is asked about: up to the head in the question, or without one all of the ledger."""
    head: int | None = getattr(question, "head", None)
    return is_complete if head is None else store.position >= head


def _ask(store: SearchStore, question: wire.AnyQuestion, stop: Interruption, progress: Progress) -> Any:
    match question:
        case wire.PageQuestion(filter=filter, limit=limit, after=after, order=order, head=head):
            return store.page(filter, limit, after, order, head, stop)
        case wire.FacetsQuestion(filter=filter, fields=fields, values=values, head=head):
            return store.facets(filter, fields, values, head, stop)
        case wire.HistogramQuestion(filter=filter, buckets=buckets, tz=tz, head=head):
            return store.histogram(filter, buckets, tz, head, stop)
        case wire.OverviewQuestion(filter=filter, fields=fields, values=values, buckets=buckets, tz=tz, head=head):
            return store.overview(filter, fields, values, buckets, tz, head, stop)
        case wire.ExtentQuestion(filter=filter, head=head):
            return store.extent(filter, head, stop)
        case wire.NeighboursQuestion(seq=seq, filter=filter):
            return store.neighbours(seq, filter, stop)
        case wire.SeenActionsQuestion(filter=filter):
            return store.seen_actions(filter, stop)
        case wire.ExportQuestion(filter=filter, head=head, format=format, path=path, bom=bom):
            return store.export(filter, head, format, path, bom, lambda rows: progress(rows, 0), stop)
    raise Unavailable("The question is not known here.", hint="Are front and back of one version?")


async def _ended(work: asyncio.Future[Any], stop: Interruption) -> None:
    """Return when the work has ended, stopping it as often as it takes; whoever wants its result or error asks for it."""
    while not work.done():
        stop.cancel()
        await asyncio.wait([work], timeout=_STOP_AGAIN_S)
    work.exception()


class _Lane:
    """So many pieces of work at once, in threads; a bounded number waits, for a bounded time."""

    def __init__(self, at_once: int, name: str) -> None:
        self.threads = ThreadPoolExecutor(at_once, thread_name_prefix=f"search-{name}")
        self._free = asyncio.Semaphore(at_once)
        self._waiting = 0

    def place(self) -> _Lane:
        return self

    async def __aenter__(self) -> None:
        if self._waiting >= WAITING_MAX:
            raise Overloaded("Too many questions at once.", retry_after_s=2)
        self._waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), WAIT_S)
        except TimeoutError:
            raise Overloaded("Search is busy with other questions.", retry_after_s=5) from None
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._free.release()

    def close(self) -> None:
        self.threads.shutdown()
