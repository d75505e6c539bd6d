"""The contract of a search store: a disposable, ordered copy of the ledger made for filters, facets and exports."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Protocol

from opssentinal.errors import Unavailable
from opssentinal.ledger.bundle import Bundle
from opssentinal.query import Filter
from opssentinal.search.answers import (
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
)  # fmt: skip
from opssentinal.search.interruption import Interruption

# Bundles that hold the events from a seq to another, read in whichever thread asks for them; `close` ends the reading.
Read = Callable[[int, int], Generator[Bundle]]


class Corrupt(Exception):
    """The store's file is damaged, of another layout or of another ledger. The only cure is to build it again."""


class Unsynced(Corrupt):
    """An fsync failed, so that nobody knows what is on the disk of the file that was written."""


class GivenUp(Unavailable):
    """After an error in writing, the engine does nothing more with the file, which is as it was: it has to be opened again."""

    code = "rebuilding"


class SearchStore(Protocol):
    """A copy of the ledger's events that answers questions over `occurred_at`.

    **Disposable.** The ledger is the truth. A store may lose everything at any time and is filled again by the same
    `ingest` that feeds it every day. Nothing is acknowledged because a store has it.

    **Position.** `position` is the first seq the store does not have: it holds exactly the events of the ledger below it,
    less those below the minimum index it was told to `forget`, of which it keeps the held ones. Rows and position change in one transaction: after a crash
    at any moment the store has the rows below its position once each, and none above. Durability on return is not
    promised; if the last batches are lost, so is the position they had moved, and the follower brings them again.

    **Prefix.** Together with the position the store keeps a fingerprint of the event before it. `ingest` compares it with
    what the ledger has there and raises Corrupt where they differ: the ledger was replaced or restored from a backup, and
    what the store has is not its copy.

    **Order.** Events are ordered by (occurred_at, seq), newest first unless said otherwise. Seqs need not be in the order
    of occurred_at: imported events are old. Pages are found by keyset, never by offset, and never overlap or skip as long as
    the same `head` is used.

    **Meaning.** Every store reads a Filter as the docstring of `opssentinal.query.Filter` says. The searchable text is
    action; the actor's id, name and e-mail; ip and user agent; type, id, name and e-mail of the first target; the message;
    and as compact JSON the further targets (`[[type,id,name,email],…]`), the changes (`[[field,before,after],…]`) and the
    metadata. A phrase must occur in one of them, without regard to case.

    **Concurrency.** One thread writes (`ingest`, `load`, `settle`, `forget`); any number of threads read meanwhile. Every answer
    is of one moment, also one made of several questions (`overview`).

    **Stopping.** Reads take an Interruption. Once it is cancelled or past its deadline, the read ends within a fraction of a
    second with `Unavailable(code="cancelled")` or `Unavailable(code="query_timeout")`; the store is as before.

    **Errors.** InvalidQuery: unknown facet field or zone, limits out of range. NotFound: no such event. Unavailable: the
    engine is out of memory or disk, or busy elsewhere; trying again may help. GivenUp, which is Unavailable too: close the store and
    open it again. Corrupt, from any method: rebuild.
    """

    @property
    def position(self) -> int:
        """The first seq that is not in the store."""

    @property
    def minimum_index(self) -> int:
        """Below which seq there are held events only."""

    @property
    def is_clean(self) -> bool:
        """Whether the file holds no bytes of forgotten events; after `forget` removed some only once it is rewritten."""

    @property
    def taken(self) -> int:
        """The first seq that was not given to the store yet: the position, or beyond it while events wait."""

    def ingest(self, bundles: Sequence[Bundle], *, may_wait: bool = False) -> int:
        """Add the events of consecutive bundles and move the position, in one transaction; return what is `taken` now.

        The first bundle begins at `taken - 1` (its first event is compared with the fingerprint and not added again) or,
        where that is 0 or that event is pruned (`forget` told so), at `taken`. Pruned bundles only move the
        position. Raises Corrupt where the ledger does not continue what the store has.

        Events that `may_wait` join the store together with later ones, in portions that are as cheap as those of `load`, and the
        position moves by as much. Until then nobody sees them, and a crash, an error or `close` loses them, so that they are
        brought again from the position. Whatever else writes takes them in first, as does ingesting nothing.
        """

    def load(self, end_seq: int, read: Read) -> Generator[int]:
        """Bring what lies far behind, up to `end_seq` at most, in large portions; yield each new position.

        Where there is too little for a portion, or the text is too much for one, the rest is left for `ingest`.
        `read(first, end)` is called from several threads at once; its bundles begin at `first - 1` or `first` like those of
        `ingest`, and end at `end`. Each portion is a transaction with its position, and they are committed in order: whatever
        `ingest` promises, also of crashes and of questions meanwhile, holds here too.
        Closing the generator stops after the portions that are committed. Raises what `ingest` and `read` raise.
        """

    def settle(self) -> None:
        """Write what lies in a log beside the file into the file, where it is much: nothing new has come for a while."""

    def forget(self, minimum_index: int, held: Sequence[int] = ()) -> int:
        """Remove the events with `seq < minimum_index` but those whose seq is in `held`; return how many.

        The bytes are gone after the next `rewrite`.
        """

    def rewrite(self, path: Path, stop: Interruption) -> None:
        """Write everything that is in the store, and nothing that was, into a new file at `path`, while others read and write.

        Raises Unavailable where that file cannot be written, GivenUp where the one in use went with it, Corrupt for what was read.
        """

    def page(
        self, filter: Filter, limit: int, after: Position | None, order: Order, head: int | None, stop: Interruption
    ) -> Page:
        """The next `limit` events after a place, of those with `seq < head` (None: all there are)."""

    def overview(
        self,
        filter: Filter,
        fields: Sequence[str],
        values: int,
        buckets: int,
        tz: str,
        head: int | None,
        stop: Interruption,
    ) -> Overview:
        """Facets, histogram and extent of one moment."""

    def facets(
        self, filter: Filter, fields: Sequence[str], values: int, head: int | None, stop: Interruption
    ) -> dict[str, list[FacetValue]]:
        """The most frequent `values` values of each field; terms of a field do not narrow its own values.

        Terms of category and mark, though they stand for actions, narrow `action` too: whoever asks for a value that was
        counted finds that many events. An event with several targets counts once for each of their types or ids.
        """

    def histogram(self, filter: Filter, buckets: int, tz: str, head: int | None, stop: Interruption) -> Histogram:
        """Events over time by outcome, in at most `buckets` bars and one; days and longer begin at midnight of `tz`."""

    def extent(self, filter: Filter, head: int | None, stop: Interruption) -> Extent:
        """How many events there are, the first and the last."""

    def neighbours(self, seq: int, filter: Filter, stop: Interruption) -> tuple[int | None, int | None]:
        """The seqs of the next newer and the next older event that the filter means. Raises NotFound."""

    def seen_actions(self, filter: Filter, stop: Interruption) -> list[SeenAction]:
        """Every action that occurs among the events that the filter means, the most frequent first."""

    def export(
        self,
        filter: Filter,
        head: int | None,
        format: Format,
        path: Path,
        bom: bool,
        progress: Callable[[int], None],
        stop: Interruption,
    ) -> Exported:
        """Write all events, newest first, to a file of mode 0600 at `path`, which is replaced; removed on any error.

        Memory stays constant whatever the number of events. `progress` is told the events written so far.
        """

    def rows(self) -> int:
        """How many events are in the store."""

    def file_bytes(self) -> int:
        """What the store occupies on disk."""

    def close(self) -> None:
        """Release the file. Reads under way are interrupted."""
