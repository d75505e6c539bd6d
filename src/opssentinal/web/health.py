"""Whether the server runs (`/healthz`) and whether it can keep its promises (`/readyz`), for supervisors and balancers."""

from __future__ import annotations

import logging

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from opssentinal.errors import OpsSentinalError
from opssentinal.ledger.outcome import disk_full
from opssentinal.ledger.reader import head
from opssentinal.ledger.sequencer import running
from opssentinal.retention import clock

_log = logging.getLogger(__name__)


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer as long as this process answers at all."""
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether events can be recorded and read (else 503) and how search is, which may be down without making us unready.

    Also that retention waits because the clock cannot be believed, which an operator has to hear of and a balancer need not.

    Nothing can be recorded once the sequencer of this process found the ledger damaged, or has ended; nor, until it is over,
    while the database refuses to write, as on a full disk. Anybody may ask, so what the database itself said, with its address,
    stands in the server's log alone; the size of the log, which balancers compare, is no secret.
    """
    try:
        size = head().size
    except (DatabaseError, OpsSentinalError) as error:
        # Anybody may ask: where the database is and what it said is for the log.
        _log.error("Not ready, because the ledger cannot be read: %s", error)
        return JsonResponse(
            {"ready": False, "ledger": "The ledger cannot be read; the server's log says why."}, status=503
        )
    ledger: dict[str, object] = {"size": size}
    sequencer = running()
    if sequencer is not None:
        health = sequencer.health()
        ledger["waiting"] = health.waiting_events
        reason = health.damage or _told(health.failure) or ("" if health.is_running else "The sequencer does not run.")
        if reason:
            return JsonResponse({"ready": False, "ledger": ledger | {"reason": reason}}, status=503)
    ready = {"ready": True, "ledger": ledger, "search": _search()}
    return JsonResponse(ready | ({"retention": str(leap)} if (leap := clock.leap(timezone.now())) else {}))


def _told(failure: str | None) -> str:
    """Why nothing can be written, for strangers: that the disk is full, or no more than where to look."""
    if failure is None or failure == disk_full().detail:
        return failure or ""
    _log.error("Not ready: %s", failure)
    return "The ledger cannot be written; the server's log says why."


def _search() -> dict[str, object]:
    from opssentinal.search.client import search

    try:
        status = search().status()
    except OpsSentinalError as error:
        return {"available": False, "reason": error.detail}
    facts: dict[str, object] = {"available": True, "rebuilding": status.rebuilding, "position": status.position}
    # What the back logged may name files.
    return facts | ({"error": "Search cannot be fed; the server's log says why."} if status.error else {})
