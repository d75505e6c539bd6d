"""Insights → Event types: the catalogue as people read it, and which other actions callers have sent."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from opssentinal.errors import Overloaded, Unavailable
from opssentinal.events.catalogue import CATEGORIES, EVENT_TYPES, EventType
from opssentinal.events.sentences import visible
from opssentinal.query import Filter
from opssentinal.query import format as format_query
from opssentinal.web.log.reading import Reading
from opssentinal.web.navigation import is_log_reader
from opssentinal.workspace.viewing import is_page_view_recorded


class TypeView(NamedTuple):
    """One declared type; `events` is None where it may not be known or search does not answer."""

    kind: EventType
    example: str
    events: int | None
    url: str


class SeenAction(NamedTuple):
    """An action that is not in the catalogue but in the log."""

    action: str
    events: int
    last: datetime
    url: str


@login_required
@require_safe
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """Show the catalogue to everybody, and to those who may read the log also what has been seen."""
    seen: dict[str, SeenAction] = {}
    may_read = is_log_reader(request)
    search_down = False
    context: dict[str, Any] = {}
    if may_read:
        reading = Reading(request.user)
        try:
            for each in reading.seen_actions():
                seen[each.action] = SeenAction(visible(each.action), each.count, each.last, _log_url(each.action))
        except (Unavailable, Overloaded):
            search_down = True
    counted = may_read and not search_down
    groups = [
        (title, [_view(kind, seen, counted) for kind in EVENT_TYPES.values() if kind.category == category])
        for category, title in CATEGORIES.items()
    ]
    undeclared = sorted((s for action, s in seen.items() if action not in EVENT_TYPES), key=lambda s: -s.events)
    if counted:
        context |= {"is_limited": reading.is_limited, "view_unrecorded": not is_page_view_recorded(request, "counts")}
    context |= {
        "groups": groups,
        "undeclared": undeclared,
        "counted": counted,
        "search_down": search_down,
        "types_count": len(EVENT_TYPES),
    }
    return render(request, "web/event_types.html", context)


def _view(kind: EventType, seen: dict[str, SeenAction], counted: bool) -> TypeView:
    count = (seen[kind.action].events if kind.action in seen else 0) if counted else None
    return TypeView(kind, json.dumps(kind.example, indent=2, ensure_ascii=False), count, _log_url(kind.action))


def _log_url(action: str) -> str:
    """All events of an action, whenever they were."""
    query = format_query(Filter().including("action", action))
    return f"{reverse('web:log')}?{urlencode([('q', query), ('range', 'all')])}"
