"""POST /api/v1/events without HTTP: what a key may send, what is handed to the ledger and what is answered per item.

Both ways in, the ASGI fast path and the view of the API, run this code, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct
from msgspec.json import Encoder

from opssentinal.apikeys.principal import KeyPrincipal
from opssentinal.errors import InvalidEvent
from opssentinal.events.decoding import decode_event, decode_events
from opssentinal.events.encoding import Drafts, draft
from opssentinal.events.model import Context, Event
from opssentinal.ingest.body import Item
from opssentinal.ledger.receipts import Receipt


class ItemError(Struct, frozen=True, omit_defaults=True):
    """Why an event was not recorded; `path` is a JSON path within it."""

    code: str
    detail: str
    path: str = ""


class ItemResult(Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one event of the request.

    accepted and duplicate are recorded, durably, at `seq`. A conflict names the event that has the id already. A rejected
    one has neither id nor seq.
    """

    index: int
    status: Literal["accepted", "duplicate", "conflict", "rejected"]
    id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})] | None = None
    seq: int | None = None
    error: ItemError | None = None


class Ingested(Struct, frozen=True):
    """The answer: one result per event, in the order of the request."""

    results: list[ItemResult]


_encode = Encoder().encode
_CONFLICT = ItemError("conflict", "Another event of this source has this id.", "$.id")


class Submission:
    """One request's events: `events` go to the ledger, and `answer` turns the receipts of these into the response.

    `text_bytes` is what the events came as, unpacked, by which the sequencer bounds a commit.
    """

    __slots__ = ("_refused", "events", "text_bytes")

    def __init__(self, decoded: Sequence[Event | InvalidEvent], principal: KeyPrincipal, text_bytes: int) -> None:
        """Bind the events to the key."""
        self.events: Sequence[Event] | Drafts
        self.text_bytes = text_bytes
        events: list[Event] = []
        self._refused: dict[int, ItemError] = {}
        for index, item in enumerate(decoded):
            refusal = item if isinstance(item, InvalidEvent) else _bind(item, principal)
            if refusal is not None:
                detail = refusal.detail.removeprefix(f"{refusal.path}: ")
                self._refused[index] = ItemError(refusal.code, detail, refusal.path)
            elif isinstance(item, Event):
                events.append(item)
        self.events = events

    @classmethod
    def of(cls, items: Sequence[Item], principal: KeyPrincipal) -> Submission:
        """Decode and validate every item and bind it to the key. Never raises for the content of an item."""
        return cls.of_each([(items, principal)])[0]

    @classmethod
    def of_each(cls, requests: Sequence[tuple[Sequence[Item], KeyPrincipal]]) -> list[Submission]:
        """Do `of` for several requests, whose items are decoded together, which costs a third of doing it one by one."""
        decoded = iter(_decoded([item for items, _ in requests for item in items]))
        return [cls(list(islice(decoded, len(items))), principal, _text_bytes(items)) for items, principal in requests]

    def __len__(self) -> int:
        """How many events the request held, good or not."""
        return len(self.events) + len(self._refused)

    def encode(self) -> None:
        """Do here what the ledger would do with the events later, so that it can be done elsewhere."""
        if not isinstance(self.events, Drafts):
            self.events = draft(self.events)

    def answer(self, receipts: Sequence[Receipt]) -> tuple[int, bytes]:
        """The status, 201 if all is recorded and else 207, and the JSON body, given one receipt per submitted event."""
        if len(receipts) != len(self.events):
            raise ValueError(f"{len(receipts)} receipts for {len(self.events)} events")
        if not self._refused and len(receipts) > 1:
            ids, seqs, statuses = zip(*receipts, strict=True)
            if "conflict" not in statuses:  # nearly always, and then it takes no step of ours for each event
                return 201, _encode(Ingested(list(map(ItemResult, range(len(ids)), statuses, ids, seqs))))
        status = 207 if self._refused else 201
        results: list[ItemResult] = []
        waiting = iter(receipts)
        for index in range(len(receipts) + len(self._refused)):
            if (refusal := self._refused.get(index)) is not None:
                results.append(ItemResult(index, "rejected", error=refusal))
                continue
            receipt = next(waiting)
            if receipt.status == "conflict":
                status = 207
                results.append(ItemResult(index, "conflict", receipt.id, receipt.seq, _CONFLICT))
            else:
                results.append(ItemResult(index, receipt.status, receipt.id, receipt.seq))
        return status, _encode(Ingested(results))


def _text_bytes(items: Sequence[Item]) -> int:
    return sum([len(memoryview(item)) for item in items if isinstance(item, Raw)])


def _decoded(items: Sequence[Item]) -> Sequence[Event | InvalidEvent]:
    if len(items) == 1 and isinstance(items[0], Raw):
        try:
            return (decode_event(bytes(items[0])),)
        except InvalidEvent as error:
            return (error,)
    raws = [item for item in items if isinstance(item, Raw)]
    if len(raws) == len(items):
        return decode_events(raws)
    decoded = iter(decode_events(raws))
    return [next(decoded) if isinstance(item, Raw) else item for item in items]


def _bind(event: Event, principal: KeyPrincipal) -> InvalidEvent | None:
    """Give the event its source, tenant and key, which the key says and not the body; return what contradicts it."""
    if event.source is None:
        event.source = principal.source
    elif event.source != principal.source:
        return InvalidEvent(f"this key sends as {principal.source!r}", path="$.source", code="wrong_source")
    if principal.tenant is not None:
        if event.tenant is None:
            event.tenant = principal.tenant
        elif event.tenant != principal.tenant:
            return InvalidEvent(f"this key sends for {principal.tenant!r}", path="$.tenant", code="wrong_tenant")
    said = event.context
    event.context = Context(
        said.ip, said.user_agent, said.session_id, said.request_id, said.forwarded_for, principal.id
    )
    return None
