"""What commands leave in the log about the log itself: that somebody read it, verified it or had its index rebuilt.

Commands that change something record it with their change, in their rooms. Those here change nothing that could be undone,
so their record stands alone; and a log that cannot be written must still be readable and verifiable, on the day the disk
is full above all. Such a look goes on, and says on stderr that there is no record of it.
"""

from __future__ import annotations

import time
from typing import Any, Literal
from uuid import UUID, uuid5

from django.db import DatabaseError

from opssentinal.commands.console import complain
from opssentinal.errors import OpsSentinalError
from opssentinal.events.model import Event, Outcome, Target
from opssentinal.ledger.recording import recording
from opssentinal.workspace.principals import os_actor

VIEW_EVERY_S = 600
AUDIT_LOG = Target(type="audit_log", id="audit_log", name="Audit log")

_VIEWS = UUID("5d0f1c55-62a1-4a0e-9a8e-4f5f2f0b7c11")  # the name space of the ids of audit_log.viewed; never to change


def record_view(view: Literal["search", "tail"]) -> None:
    """Record audit_log.viewed, one at most per person, view and ten minutes of the clock; call before anything is shown.

    What was searched for is not recorded. The id is derived from what may occur once, so the log itself tells a repetition.
    """
    actor, window = os_actor(), int(time.time()) // VIEW_EVERY_S
    id_ = uuid5(_VIEWS, "\n".join((actor.id, actor.name or "", view, str(window))))
    _record(Event(id=id_, action="audit_log.viewed", outcome="success", actor=actor, targets=[AUDIT_LOG],
                  metadata={"view": view}), "This look at the log")  # fmt: skip


def record_verification(facts: dict[str, Any], *, is_clean: bool) -> None:
    """Record audit_log.verified with what was found."""
    outcome: Outcome = "success" if is_clean else "failure"
    _record(Event(action="audit_log.verified", outcome=outcome, actor=os_actor(), targets=[AUDIT_LOG], metadata=facts),
            "This check of the log")  # fmt: skip


def record_reindex(outcome: Outcome, facts: dict[str, Any]) -> None:
    """Record search.reindexed."""
    index = Target(type="search_index", id="search_index", name="Search index")
    _record(Event(action="search.reindexed", outcome=outcome, actor=os_actor(), targets=[index], metadata=facts),
            "The rebuilding of the index")  # fmt: skip


def _record(event: Event, what: str) -> None:
    try:
        with recording() as record:
            record(event)
    except (DatabaseError, OpsSentinalError) as error:
        complain(f"{what} could not be recorded: {' '.join(str(error).split())}")
