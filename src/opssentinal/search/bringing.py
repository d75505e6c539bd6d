"""How events come from the ledger into a store: in batches, and in large portions where it is far behind."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

from django.db import connection

from opssentinal.ledger import reader
from opssentinal.ledger.bundle import Bundle
from opssentinal.search.store import SearchStore

# A batch: large enough for the engine, small enough to stop and answer in between; with one bundle more still one statement.
BATCH_EVENTS = 36_864
# And of text: the engine and we hold it a few times over at once, and a batch that kills the process would come again.
BATCH_BYTES = 24 << 20
# As many events are brought in batches where they were too large for a portion, of which each trial costs as much as these.
_LOAD_AGAIN_EVENTS = 250_000


def bring_all(store: SearchStore) -> Generator[int]:
    """Bring everything that is in the ledger by now, in large portions as far as that goes. Yield what is taken each time.

    The last events wait until something more is ingested.
    """
    size, load_from, before = reader.head().size, 0, -1
    # At least once, since a batch of nothing new compares too; and no further where nothing comes: the ledger is another one.
    while before < store.taken < size or before < 0:
        before = store.taken
        if before >= load_from:
            yield from store.load(size, _portion)
            load_from = store.taken + _LOAD_AGAIN_EVENTS
        yield _bring(store)


def _portion(first_seq: int, end_seq: int) -> Generator[Bundle]:
    """The events of a portion and the one before it, which the store compares; in a thread that goes when the portion is read."""
    try:
        for bundle in reader.bundles_after(max(first_seq - 1, 0), end_seq - first_seq + 1):
            if bundle.first_seq >= end_seq:  # a piece of one that was pruned
                return
            yield bundle.until(end_seq)
    finally:
        connection.close()


def _bring(store: SearchStore) -> int:
    """Bring one batch from the ledger; return what is taken. Begins one event early, which the store compares."""
    bundles = _batch(reader.bundles_after(max(store.taken - 1, 0), BATCH_EVENTS))
    return store.ingest(list(bundles), may_wait=True)


def _batch(bundles: Iterable[Bundle]) -> Iterator[Bundle]:
    """As many bundles as hold BATCH_BYTES of text, one more at most; the rest is not even read."""
    text_bytes = 0
    for bundle in bundles:
        yield bundle
        text_bytes += sum(sum(map(len, lines)) for lines in (bundle.heads, bundle.whos, bundle.whats))
        if text_bytes >= BATCH_BYTES:
            return
