"""What search answers: the values that stores return and that cross the socket between the two processes.

Plain msgspec Structs, JSON on the wire, so that client and service share one definition and nothing is built twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from opssentinal.events.model import RecordedEvent
from opssentinal.followers.runner import TaskStatus

Order = Literal["newest", "oldest"]
Format = Literal["csv", "jsonl", "parquet"]

PAGE_EVENTS_MAX: Final = 1_000
FACET_VALUES_MAX: Final = 1_000
BUCKETS_MAX: Final = 400

FACET_FIELDS: Final = (
    "action", "outcome", "source", "tenant", "actor", "actor_type", "target", "target_type", "ip", "ua",
)  # fmt: skip


class Position(Struct, frozen=True, array_like=True):
    """A place in the order of events: µs since the epoch of `occurred_at`, then seq."""

    occurred_at_us: int
    seq: int


class Page(Struct):
    """Some events in the order asked for. `next` is where to go on, None at the end.

    `head`: only events with a lower seq were looked at; hand it back for the next page, so that pages never shift.
    `complete` is false while the index lacks the last events of the ledger, or of those below the head asked for: what is missing will be
    found later. One that lacks many answers nothing instead, and nothing else than pages is answered by one that lacks any.
    `partial` is true where patience ended before the search did: `events`, of which there may be none, are what was found by
    then, and `next` is how far it came.
    """

    events: list[RecordedEvent]
    next: Position | None
    head: int
    complete: bool = True
    partial: bool = False


class FacetValue(Struct):
    """One value of a field with the number of events that have it. `label` is a readable name where the value is an id."""

    value: str
    count: int
    label: str | None = None


class Bucket(Struct):
    """The events of one bar of the histogram by outcome; `start` is inclusive, the next bucket's start ends it."""

    start: datetime
    success: int = 0
    failure: int = 0
    denied: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """All events of the bar."""
        return self.success + self.failure + self.denied + self.unknown


class Histogram(Struct):
    """Events over time. `buckets` are gapless, oldest first, `step_s` seconds wide (days may have 23 or 25 hours).

    They cover the filter's range; where it is open, they begin at the first event and end at the last or now.
    """

    start: datetime
    end: datetime
    step_s: int
    buckets: list[Bucket]


class Extent(Struct):
    """How many events there are and when the first and the last occurred (None where there are none)."""

    first: datetime | None
    last: datetime | None
    count: int


class Overview(Struct):
    """What stands around a page of events: facets, histogram and extent, all of one moment."""

    facets: dict[str, list[FacetValue]]
    histogram: Histogram
    extent: Extent


class SeenAction(Struct):
    """An action that occurs in the log."""

    action: str
    count: int
    first: datetime
    last: datetime


class Exported(Struct):
    """A finished export file."""

    rows: int
    bytes: int
    sha256: str


class Status(Struct):
    """Where search stands. `position` is the first seq it does not have yet, `ledger_size` where it should be.

    `rebuilding`: it lacks most or all events: a new index is being filled, is not open yet, or cannot even be begun.
    `reindexing`: a second file is being made while the first answers. `error`: why the index cannot be fed at the moment.
    """

    position: int
    ledger_size: int
    rebuilding: bool
    rows: int
    file_bytes: int
    reindexing: bool = False
    error: str | None = None
    tasks: Sequence[TaskStatus] = ()
