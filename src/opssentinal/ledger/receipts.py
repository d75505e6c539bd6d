"""What appending returns, one per event."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Receipt(NamedTuple):
    """The place of one event. `id` is the text of its UUID.

    `seq` is set in every case: of a duplicate or a conflict it is the recorded event's.

    accepted   appended now
    duplicate  the same event under this id is recorded already; nothing was appended
    conflict   another event is recorded under this id; nothing was appended
    """

    id: str
    seq: int
    status: Literal["accepted", "duplicate", "conflict"]
