"""Records → the log: decodes them, appends them in batches, and keeps count of what became of each.

A batch is one transaction, so an import that is stopped has appended whole batches; run again, it goes on where it was,
because events that are there already are recognised by their ids. The import itself is recorded, also one that stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from django.db import transaction

from opssentinal.errors import InvalidEvent
from opssentinal.events.model import Actor, Event, Target
from opssentinal.imports.reading import Broken, Record
from opssentinal.ledger.append import append
from opssentinal.ledger.recording import SOURCE as OWN_SOURCE
from opssentinal.ledger.recording import recording

BATCH_EVENTS_MAX = 1_000
REASONS_MAX = 100

Decode = Callable[[bytes], Event]


class Format(NamedTuple):
    """One kind of file: its name, how to read one record of it (raising InvalidEvent), and what its records are called."""

    name: str
    decode: Decode
    records: str


@dataclass
class Tally:
    """What became of the records. `reasons` are the first REASONS_MAX of those that were not taken, place and why."""

    files: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    reasons: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether every record is in the log now."""
        return not (self.rejected or self.conflicts)

    def counts(self) -> dict[str, int]:
        """The numbers alone, under their names."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, int)}


class Import:
    """One run. `source` and `tenant` replace those of the records; `refused` is told of every record not taken.

    With `is_dry_run` nothing is written; what would be a duplicate or a conflict is then counted as accepted.
    """

    def __init__(
        self,
        format: Format,
        *,
        source: str | None = None,
        tenant: str | None = None,
        is_dry_run: bool = False,
        refused: Callable[[str, str], None] | None = None,
    ) -> None:
        self.format = format
        self.tally = Tally()
        self._source = source
        self._tenant = tenant
        self._is_dry_run = is_dry_run
        self._refused = refused
        self._waiting: list[tuple[str, Event]] = []

    def take(self, items: Iterable[Record | Broken]) -> None:
        """Import the records of one file."""
        self.tally.files += 1
        for item in items:
            if isinstance(item, Broken):
                self._refuse(item.place, item.reason)
                continue
            try:
                self._waiting.append((item.place, self._event(item.raw)))
            except InvalidEvent as error:
                self._refuse(item.place, error.detail)
            if len(self._waiting) >= BATCH_EVENTS_MAX:
                self.flush()

    def flush(self) -> None:
        """Append what waits. When this returns, it is durable."""
        waiting, self._waiting = self._waiting, []
        if self._is_dry_run:
            self.tally.accepted += len(waiting)
            return
        with transaction.atomic(durable=True):
            receipts = append([event for _, event in waiting])
        for (place, event), receipt in zip(waiting, receipts, strict=True):
            if receipt.status == "accepted":
                self.tally.accepted += 1
            elif receipt.status == "duplicate":
                self.tally.duplicates += 1
            else:
                self.tally.conflicts += 1
                self._say(place, f"$.id: {event.id} is the id of another event already recorded, seq {receipt.seq}")

    def record(self, actor: Actor, *, files: list[str]) -> None:
        """Record that this import happened, also where it added nothing: somebody tried, and may have learnt what is there."""
        if self._is_dry_run:
            return
        count = self.tally.files
        target = Target(
            type="import",
            id=self.format.name,
            name=f"{self.tally.accepted:,} {self.format.records} from {count:,} file{'s' if count != 1 else ''}",
        )
        metadata: dict[str, Any] = self.tally.counts() | {"first_files": [name[:1024] for name in files[:20]]}
        for name, value in (("source", self._source), ("tenant", self._tenant)):
            if value:
                metadata[name] = value
        with recording() as record:
            record(Event(action="events.imported", outcome="success", actor=actor, targets=[target], metadata=metadata))

    def _event(self, raw: bytes) -> Event:
        event = self.format.decode(raw)
        event.source = self._source or event.source
        event.tenant = self._tenant or event.tenant
        if event.source == OWN_SOURCE:
            # What the product says about itself comes from the product alone.
            raise InvalidEvent(f"{OWN_SOURCE} is not for imported events; --source gives them another", path="$.source")
        return event

    def _refuse(self, place: str, reason: str) -> None:
        self.tally.rejected += 1
        self._say(place, reason)

    def _say(self, place: str, reason: str) -> None:
        if len(self.tally.reasons) < REASONS_MAX:
            self.tally.reasons.append((place, reason))
        if self._refused is not None:
            self._refused(place, reason)
