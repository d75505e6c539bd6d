"""Small requests of one moment are decoded, committed and answered together.

Each by itself costs several times as much: a call of the decoder, a future, a place in the sequencer's queue, a wake-up. Whoever
comes alone waits for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from opssentinal.apikeys.principal import KeyPrincipal
from opssentinal.events.encoding import Drafts
from opssentinal.events.model import Event
from opssentinal.ingest.body import Item
from opssentinal.ingest.operation import Submission
from opssentinal.ledger.receipts import Receipt

# How long a group waits for those who belong to it: about as long as it takes to record one.
_PATIENCE_S = 0.002
# Of a group, unless a single request has more. It is decoded in one go on the loop, which serves everybody.
_GROUP_ITEMS_MAX = 512
_GROUP_BYTES_MAX = 256 * 1024

log = logging.getLogger(__name__)

# A submission and its receipts, or the reason why there are none.
Outcome = tuple[Submission, Sequence[Receipt]] | Exception


class Submits(Protocol):
    """What ingest needs of the ledger's Sequencer."""

    def submit(self, events: Sequence[Event] | Drafts, text_bytes: int = 0) -> Future[list[Receipt]]:
        """Return a future of receipts that ends once the events are on disk. Raises OpsSentinalError where it takes none."""

    def require_room(self, count: int, before: int) -> None:
        """Raise what `submit` would for so many events, after so many that it would have got before."""


class _Request(NamedTuple):
    items: Sequence[Item]
    principal: KeyPrincipal
    bytes: int
    settle: Callable[[Outcome], None]


class Gathering:
    """Takes the items of small requests to the sequencer, a group at a time: what comes meanwhile is the next group.

    Belongs to one event loop, on which it is called and calls back.
    """

    def __init__(self, sequencer: Submits) -> None:
        self._sequencer = sequencer
        self._waiting: deque[_Request] = deque()
        self._waiting_items = 0
        # The group that is being recorded, or about to be.
        self._under_way: asyncio.Task[None] | None = None
        # How many requests the next group is waited for to have, 0 where it is not, and what ends the wait.
        self._wanted = 0
        self._complete: asyncio.Future[None] | None = None

    def add(
        self, items: Sequence[Item], principal: KeyPrincipal, body_bytes: int, settle: Callable[[Outcome], None]
    ) -> None:
        """Record the items of a body for the key, and call `settle` once, later, with what became of them.

        Raises, having done nothing, what the sequencer's `submit` raises.
        """
        self._sequencer.require_room(len(items), before=self._waiting_items)
        self._waiting.append(_Request(items, principal, body_bytes, settle))
        self._waiting_items += len(items)
        if len(self._waiting) == self._wanted:
            self._end_wait()
        if self._under_way is None:
            # A task begins when the loop has received what is there, which so comes along.
            self._under_way = asyncio.get_running_loop().create_task(self._record_waiting())

    async def drain(self) -> None:
        """Return when everything that was added is recorded or refused."""
        while self._under_way is not None:
            await self._under_way

    async def _record_waiting(self) -> None:
        try:
            while group := self._next_group():
                await self._record(group)
                if self._waiting and self._waiting_items < _GROUP_ITEMS_MAX:
                    await self._wait_for(len(group) + len(self._waiting))
        finally:
            self._under_way = None

    async def _wait_for(self, requests: int) -> None:
        """Wait a moment until so many wait: those who were answered come again, as a rule, and else would always be in the group
        after the next, so that groups are half as large."""
        loop = asyncio.get_running_loop()
        self._wanted, self._complete = requests, loop.create_future()
        patience = loop.call_later(_PATIENCE_S, self._end_wait)
        await self._complete
        patience.cancel()

    def _end_wait(self) -> None:
        self._wanted = 0
        if self._complete is not None and not self._complete.done():
            self._complete.set_result(None)

    def _next_group(self) -> list[_Request]:
        group: list[_Request] = []
        items = bytes_ = 0
        while self._waiting:
            items += len(self._waiting[0].items)
            bytes_ += self._waiting[0].bytes
            if group and (items > _GROUP_ITEMS_MAX or bytes_ > _GROUP_BYTES_MAX):
                break
            group.append(self._waiting.popleft())
            self._waiting_items -= len(group[-1].items)
        return group

    async def _record(self, group: list[_Request]) -> None:
        try:
            submissions = Submission.of_each([(request.items, request.principal) for request in group])
            # Not encoded yet, and so lists.
            events = [event for submission in submissions for event in submission.events]  # type: ignore[union-attr]
            text_bytes = sum(submission.text_bytes for submission in submissions)
            receipts = await asyncio.wrap_future(self._sequencer.submit(events, text_bytes)) if events else []
        except Exception as error:  # noqa: BLE001 - handed to those who asked, who log and answer it
            for request in group:
                _settle(request, error)
            return
        at = 0
        for request, submission in zip(group, submissions, strict=True):
            end = at + len(submission.events)
            _settle(request, (submission, receipts[at:end]))
            at = end


def _settle(request: _Request, outcome: Outcome) -> None:
    try:
        request.settle(outcome)
    except Exception:
        log.exception("A request that was gathered with others could not be told what became of it")
