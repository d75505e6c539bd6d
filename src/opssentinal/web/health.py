"""Whether the server runs (`/healthz`) and whether it can keep its promises (`/readyz`), for supervisors and balancers."""

from __future__ import annotations

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from opssentinal.errors import OpsSentinalError
from opssentinal.ledger.reader import head


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer as long as this process answers at all."""
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether the ledger can be read (else 503) and how search is; search may be down without making us unready."""
    try:
        size = head().size
    except (DatabaseError, OpsSentinalError) as error:
        return JsonResponse({"ready": False, "ledger": str(error)}, status=503)
    return JsonResponse({"ready": True, "ledger": {"size": size}, "search": _search()})


def _search() -> dict[str, object]:
    from opssentinal.search.client import search

    try:
        status = search().status()
    except OpsSentinalError as error:
        return {"available": False, "reason": error.detail}
    return {"available": True, "rebuilding": status.rebuilding, "position": status.position}
