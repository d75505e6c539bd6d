"""recording(): a change and its audit event in one transaction; no change without a record, no record without its change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from django.db import transaction

from opssentinal.errors import InvalidEvent
from opssentinal.events.decoding import validate
from opssentinal.events.model import Event
from opssentinal.ledger.append import append

SOURCE = "opssentinal"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


@contextmanager
def recording() -> Iterator[Callable[[Event], None]]:
    """Wrap the outermost transaction of a page or command::

        with recording() as record:
            user.save()
            record(Event(action="user.updated", actor=…, targets=[…]))

    Events are collected and appended once, last, because appending locks the head of the log. Whatever raises inside undoes
    both sides; when the block ends both are durable. Nothing slow belongs inside: no network, no hashing of passwords, no
    rendering. Raises InvalidEvent for an event that a caller of the API could not have sent either.
    """
    events: list[Event] = []

    def record(event: Event) -> None:
        if event.source is None:
            event.source = SOURCE
        try:
            # Built in code, so nothing has checked its lengths and types yet: through the decoder, like any other.
            checked = _decode(_encode(event))
        except msgspec.MsgspecError as error:
            raise InvalidEvent(str(error)) from error
        events.append(validate(checked))

    with transaction.atomic(durable=True):
        yield record
        append(events)
