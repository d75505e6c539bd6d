"""What one account may read of the log. Everything that the pages show of it comes through here, so nothing goes past its period.

An auditor may be limited to the events that occurred in a period. The period is laid over each question to search and each
read of the ledger, as a filter: what lies outside is not there, is not counted, and cannot be told from what never was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from opssentinal.errors import InvalidQuery, NotFound
from opssentinal.events.model import RecordedEvent
from opssentinal.formats.matching import matcher
from opssentinal.ledger import reader
from opssentinal.query import Filter
from opssentinal.search.answers import Extent, Histogram, Overview, Page, Position, SeenAction
from opssentinal.search.client import search
from opssentinal.workspace.access import log_bounds

# Events that are looked through, without search, for those of a period.
SCAN_MAX = 10_000
_SCAN_AT_ONCE = 500


class Newest(NamedTuple):
    """Events from the end of the log, newest first; `before_seq` is where older ones begin, None at the log's beginning."""

    events: list[RecordedEvent]
    before_seq: int | None


class Reading:
    """The log as one account may read it, within `bounds`. Raises what search and the ledger raise."""

    def __init__(self, user: Any) -> None:
        self.bounds = log_bounds(user)

    @property
    def is_limited(self) -> bool:
        """Whether there may be events that this account cannot see."""
        return self.bounds != Filter()

    def within(self, filter: Filter) -> Filter | None:
        """The filter with the bounds laid over it; None where their times do not meet, so that nothing can match."""
        try:
            return filter & self.bounds
        except InvalidQuery:  # both are filters already, and bounds add no value: only the range can be refused
            return None

    def may_see(self, event: RecordedEvent) -> bool:
        """Whether the event lies within the bounds."""
        return matcher(self.bounds)(event)

    def page(self, filter: Filter, *, limit: int, after: Position | None = None, head: int | None = None) -> Page:
        """See SearchClient.page."""
        asked = self.within(filter)
        if asked is None:
            return Page([], None, reader.head().size)
        return search().page(asked, limit=limit, after=after, head=head)

    def overview(
        self, filter: Filter, fields: Sequence[str], buckets: int, tz: str, *, limit: int, head: int
    ) -> Overview:
        """See SearchClient.overview; without any bar where nothing can match."""
        asked = self.within(filter)
        if asked is None:
            return Overview({}, _no_bars(), Extent(None, None, 0))
        return search().overview(asked, fields, buckets, tz, limit=limit, head=head)

    def histogram(self, filter: Filter, *, buckets: int, tz: str, head: int) -> Histogram:
        """See SearchClient.histogram; without any bar where nothing can match."""
        asked = self.within(filter)
        return _no_bars() if asked is None else search().histogram(asked, buckets=buckets, tz=tz, head=head)

    def extent(self, filter: Filter, *, head: int | None = None) -> Extent:
        """See SearchClient.extent."""
        asked = self.within(filter)
        return Extent(None, None, 0) if asked is None else search().extent(asked, head=head)

    def neighbours(self, seq: int, filter: Filter) -> tuple[int | None, int | None]:
        """See SearchClient.neighbours."""
        asked = self.within(filter)
        return (None, None) if asked is None else search().neighbours(seq, asked)

    def seen_actions(self) -> list[SeenAction]:
        """See SearchClient.seen_actions."""
        return search().seen_actions(self.bounds)

    def event(self, seq: int) -> RecordedEvent:
        """The event at `seq`. Raises NotFound, which says why only to those who may see every event."""
        try:
            event = reader.read_event(seq)
        except NotFound:
            if not self.is_limited:
                raise
        else:
            if self.may_see(event):
                return event
        raise NotFound(f"There is no event {seq}.")

    def events(self, seqs: Iterable[int]) -> list[RecordedEvent]:
        """The events at these seqs that are there to see, in the order of `seqs`."""
        seqs = list(seqs)
        found = reader.read_events(seqs)
        return [found[seq] for seq in seqs if seq in found and self.may_see(found[seq])]

    def newest(self, limit: int, before_seq: int | None = None) -> Newest:
        """Up to `limit` of the newest events of the ledger below `before_seq`, looking through SCAN_MAX at most."""
        found: list[RecordedEvent] = []
        below, scanned, at_once = before_seq, 0, _SCAN_AT_ONCE if self.is_limited else limit
        while scanned < SCAN_MAX:
            portion = reader.newest(at_once, below)
            for event in portion:
                below = event.seq
                if self.may_see(event):
                    found.append(event)
                if len(found) == limit:
                    return Newest(found, below or None)
            scanned += len(portion)
            if len(portion) < at_once:
                return Newest(found, None)
        return Newest(found, below or None)


def _no_bars() -> Histogram:
    now = datetime.now(UTC)
    return Histogram(now, now, 1, [])
