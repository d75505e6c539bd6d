"""Whether the server runs (`/healthz`) and whether it can keep its promises (`/readyz`), for supervisors and balancers."""

from __future__ import annotations

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from opssentinal.errors import OpsSentinalError
from opssentinal.ledger.reader import head
from opssentinal.ledger.sequencer import running


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer as long as this process answers at all."""
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether events can be recorded and read (else 503) and how search is, which may be down without making us unready.

    Nothing can be recorded once the sequencer of this process found the ledger damaged, or has ended; nor, until it is over,
    while the database refuses to write, as on a full disk.
    """
    try:
        size = head().size
    except (DatabaseError, OpsSentinalError) as error:
        return JsonResponse({"ready": False, "ledger": str(error)}, status=503)
    ledger: dict[str, object] = {"size": size}
    sequencer = running()
    if sequencer is not None:
        health = sequencer.health()
        ledger["waiting"] = health.waiting_events
        reason = health.damage or health.failure or ("" if health.is_running else "The sequencer does not run.")
        if reason:
            return JsonResponse({"ready": False, "ledger": ledger | {"reason": reason}}, status=503)
    return JsonResponse({"ready": True, "ledger": ledger, "search": _search()})


def _search() -> dict[str, object]:
    from opssentinal.search.client import search

    try:
        status = search().status()
    except OpsSentinalError as error:
        return {"available": False, "reason": error.detail}
    facts: dict[str, object] = {"available": True, "rebuilding": status.rebuilding, "position": status.position}
    return facts | ({"error": status.error} if status.error else {})
