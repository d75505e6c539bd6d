"""What commands leave in the log about the log itself: that somebody read it, verified it or had its index rebuilt.

Commands that change something record it with their change, in their rooms. Those here change nothing that could be undone,
so their record stands alone; and a log that cannot be written must still be readable and verifiable, on the day the disk
is full above all. Such a look goes on, and says on stderr that there is no record of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from opssentinal.commands.console import complain
from opssentinal.events.model import Event, Outcome, Target
from opssentinal.ledger.recording import recording
from opssentinal.workspace import viewing
from opssentinal.workspace.principals import os_actor
from opssentinal.workspace.viewing import AUDIT_LOG, NO_RECORD


def record_view(view: Literal["search", "tail"]) -> None:
    """Record audit_log.viewed, one at most per person, view and ten minutes; call before anything is shown."""
    actor = os_actor()
    with _survived("This look at the log"):
        viewing.record_view(view, f"{actor.id}\n{actor.name or ''}", actor)


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
    with _survived(what), recording() as record:
        record(event)


@contextmanager
def _survived(what: str) -> Iterator[None]:
    try:
        yield
    except NO_RECORD as error:
        complain(f"{what} could not be recorded: {' '.join(str(error).split())}")
