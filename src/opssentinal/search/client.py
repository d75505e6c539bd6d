"""The client of the search service: what pages, the API, commands and exports ask search through.

Synchronous, and safe from any thread: each question has a connection of its own. Closing it withdraws the question, which
is how a request that nobody waits for any more stops the work in the back (see CancelScope).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from django.conf import settings

from opssentinal.errors import Unavailable
from opssentinal.query import Filter
from opssentinal.search import wire
from opssentinal.search.answers import (
    FACET_FIELDS,
    FACET_VALUES_MAX,
    PAGE_EVENTS_MAX,
    Bucket,
    Exported,
    Extent,
    FacetValue,
    Format,
    Histogram,
    Order,
    Overview,
    Page,
    Position,
    SeenAction,
    Status,
)  # fmt: skip

__all__ = [
    "FACET_FIELDS", "FACET_VALUES_MAX", "PAGE_EVENTS_MAX", "Bucket", "CancelScope", "Exported", "Extent", "FacetValue",
    "Histogram", "Overview", "Page", "Position", "SearchClient", "SeenAction", "Status", "cancel_scope", "search",
]  # fmt: skip

# The service says something every HEARTBEAT_S; silence this long means that it hangs.
_SILENCE_S: Final = 15.0
_DOWN_HINT: Final = (
    "Start the server with `opssentinal serve`; one that runs already starts its search again by itself."
)

T = TypeVar("T")


class CancelScope:
    """The questions of one request. `cancel`, from any thread, withdraws those under way and refuses new ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self.is_cancelled = False

    def cancel(self) -> None:
        """Withdraw every question of this scope."""
        with self._lock:
            self.is_cancelled = True
            for connection in self._sockets:
                with suppress(OSError):  # it may have ended this moment
                    connection.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def holding(self, connection: socket.socket) -> Iterator[None]:
        """Count a connection as one of this scope's."""
        with self._lock:
            if self.is_cancelled:
                raise _withdrawn()
            self._sockets.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._sockets.discard(connection)


# Set by the front for each request; None where there is nobody who could go away.
cancel_scope: ContextVar[CancelScope | None] = ContextVar("cancel_scope", default=None)


class SearchClient:
    """Questions to search.

    Every method raises Unavailable where the back does not answer (`code="query_timeout"`: the question took too long and
    was stopped; `"cancelled"`: withdrawn; `"rebuilding"`), Overloaded where too much is asked at once, and InvalidQuery.
    Whatever was acknowledged before the question is in the answer, unless the answer says that it is not `complete`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def page(
        self,
        filter: Filter,
        *,
        limit: int = 50,
        after: Position | None = None,
        order: Order = "newest",
        head: int | None = None,
    ) -> Page:
        """Up to `limit` events in order of (occurred_at, seq). For the next page pass the page's `next` and `head`."""
        return self._ask(wire.PageQuestion(filter=filter, limit=limit, after=after, order=order, head=head), Page)

    def facets(
        self, filter: Filter, fields: Sequence[str], *, limit: int = 10, head: int | None = None
    ) -> dict[str, list[FacetValue]]:
        """The most frequent values of each of `fields` (of FACET_FIELDS); a field's own terms do not narrow it."""
        question = wire.FacetsQuestion(filter=filter, fields=list(fields), values=limit, head=head)
        return self._ask(question, dict[str, list[FacetValue]])

    def histogram(self, filter: Filter, *, buckets: int = 60, tz: str = "UTC", head: int | None = None) -> Histogram:
        """Events over time by outcome, in about `buckets` bars at most; those of days begin at midnight of `tz`."""
        return self._ask(wire.HistogramQuestion(filter=filter, buckets=buckets, tz=tz, head=head), Histogram)

    def overview(
        self,
        filter: Filter,
        fields: Sequence[str],
        buckets: int = 60,
        tz: str = "UTC",
        *,
        limit: int = 10,
        head: int | None = None,
    ) -> Overview:
        """Facets, histogram and extent, all of one moment and in one go."""
        question = wire.OverviewQuestion(
            filter=filter, fields=list(fields), values=limit, buckets=buckets, tz=tz, head=head
        )
        return self._ask(question, Overview)

    def extent(self, filter: Filter, *, head: int | None = None) -> Extent:
        """How many events there are, and when the first and the last of them occurred."""
        return self._ask(wire.ExtentQuestion(filter=filter, head=head), Extent)

    def neighbours(self, seq: int, filter: Filter) -> tuple[int | None, int | None]:
        """The seqs of the next newer and the next older event of the filter. Raises NotFound."""
        return self._ask(wire.NeighboursQuestion(seq=seq, filter=filter), tuple[int | None, int | None])

    def seen_actions(self, filter: Filter) -> list[SeenAction]:
        """Every action that occurs among the events that the filter means, the most frequent first."""
        return self._ask(wire.SeenActionsQuestion(filter=filter), list[SeenAction])

    def export(
        self,
        filter: Filter,
        head: int | None,
        format: Format,
        path: Path,
        *,
        bom: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> Exported:
        """Have the back write all events, newest first, to a file (absolute path, mode 0600, replaced if there).

        `progress` is told the rows written so far, now and then; if it raises, the export is withdrawn and its file gone.
        """
        question = wire.ExportQuestion(filter=filter, head=head, format=format, path=path.absolute(), bom=bom)
        return self._ask(question, Exported, progress and (lambda done, _: progress(done)))

    def status(self) -> Status:
        """Where search stands, and how the scheduled tasks of the back are doing."""
        return self._ask(wire.StatusQuestion(), Status)

    def reindex(self, progress: Callable[[int, int], object] | None = None) -> None:
        """Build the index again from the ledger and use the new one; the old one answers meanwhile.

        `progress` is told the events done and all there are. If we go away, it is given up.
        """
        self._ask(wire.ReindexQuestion(), type(None), progress)

    def poke(self, task: str) -> None:
        """Have a scheduled task of the back run now. Raises NotFound."""
        self._ask(wire.Poke(task=task), type(None))

    def _ask(self, question: wire.Question, answer: type[T], progress: Callable[[int, int], object] | None = None) -> T:
        scope = cancel_scope.get() or CancelScope()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, scope.holding(connection):
            connection.settimeout(_SILENCE_S)
            with _talking(scope):
                connection.connect(str(self._path))
                connection.sendall(wire.frame(question))
            while True:
                with _talking(scope):
                    reply = wire.read_reply(_read_frame(connection))
                if not isinstance(reply, wire.Progress):
                    break
                if progress is not None:
                    progress(reply.done, reply.total)
        if isinstance(reply, wire.Failure):
            raise wire.error_of(reply)
        try:
            return msgspec.json.decode(reply.value, type=answer)
        except msgspec.MsgspecError as error:
            raise Unavailable(
                f"The answer cannot be read: {error}.", hint="Are front and back of one version?"
            ) from error


@contextmanager
def _talking(scope: CancelScope) -> Iterator[None]:
    """Turn errors of the connection into ours."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable("Search does not answer.", hint=_DOWN_HINT) from error
    except (OSError, EOFError) as error:
        raise _withdrawn() if scope.is_cancelled else Unavailable("Search is not running.", hint=_DOWN_HINT) from error


def _withdrawn() -> Unavailable:
    return Unavailable("The question was withdrawn.", code="cancelled")


def _read_frame(connection: socket.socket) -> bytes:
    (length,) = wire.LENGTH.unpack(_read_exactly(connection, wire.LENGTH.size))
    if length > wire.FRAME_BYTES_MAX:
        raise Unavailable("The answer is too long.")
    return _read_exactly(connection, length)


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    content = bytearray(count)
    view = memoryview(content)
    while view:
        received = connection.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]
    return bytes(content)


def search() -> SearchClient:
    """The client of the configured search service."""
    return SearchClient(settings.CONFIG.search_socket)
