"""audit_log.viewed: that somebody read the log stands in the log itself, without what they searched for.

One place for pages, the API and commands, so that all of them mean the same by “once”: one event for each reader (a session,
an API key, a person at the command line), view and ten minutes. The id of the event is derived from what may occur once, so
the log itself tells a repetition, whichever process it comes from; the cache only spares asking it.
"""

from __future__ import annotations

import logging
import time
from typing import Literal
from uuid import UUID, uuid5

from django.core.cache import cache
from django.db import Error as DatabaseProblem
from django.http import HttpRequest

from opssentinal.errors import OpsSentinalError
from opssentinal.events.model import Actor, Context, Event, Target
from opssentinal.ledger.recording import recording
from opssentinal.workspace.principals import request_actor, request_context

VIEW_EVERY_S = 600
AUDIT_LOG = Target(type="audit_log", id="audit_log", name="Audit log")
# What keeps a record from being made: the database, or the ledger itself.
NO_RECORD = (DatabaseProblem, OpsSentinalError)

# A list of events, one event in full, counts of events; and the commands of these names.
View = Literal["log", "event", "counts", "search", "tail"]

_VIEWS = UUID("5d0f1c55-62a1-4a0e-9a8e-4f5f2f0b7c11")  # the name space of the ids of audit_log.viewed; never to change
_log = logging.getLogger(__name__)


def record_view(view: View, reader: str, actor: Actor, context: Context | None = None) -> None:
    """Record audit_log.viewed, one at most for `reader`, `view` and ten minutes.

    To be called once access is granted and what was asked for is found, and before any of it leaves: the view itself is then
    not in it, and search need not wait for it. Raises NO_RECORD.
    """
    key = "audit-log-viewed:" + uuid5(_VIEWS, f"{reader}\n{view}").hex
    if cache.get(key):
        return
    id_ = uuid5(_VIEWS, "\n".join((reader, view, str(int(time.time()) // VIEW_EVERY_S))))
    event = Event(id=id_, action="audit_log.viewed", outcome="success", actor=actor, targets=[AUDIT_LOG],
                  context=context or Context(), metadata={"view": view})  # fmt: skip
    with recording() as record:
        record(event)
    # Only now: what could not be recorded is tried again with the next request. Two at once record the same id.
    cache.set(key, True, VIEW_EVERY_S)


def is_view_recorded(view: View, reader: str, actor: Actor, context: Context) -> bool:
    """record_view for readers who must not be kept out on the day nothing can be written, above all a full disk.

    False, and an error in the server's log, if there is no record of this view; whoever shows something says so.
    """
    try:
        record_view(view, reader, actor, context)
    except NO_RECORD as error:
        _log.error("The log was read by %s (%s) and this could not be recorded: %s", actor.id, view, error)
        return False
    return True


def is_page_view_recorded(request: HttpRequest, view: View) -> bool:
    """is_view_recorded for a page, by its session."""
    actor, context = request_actor(request), request_context(request)
    return is_view_recorded(view, context.session_id or actor.id, actor, context)
