"""Pages of rows that are listed newest first: exports and API keys. Their cursor is the last row's public id."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from opssentinal.api.parameters import CURSOR, LIMIT, number, one, refuse_unknown
from opssentinal.errors import InvalidCursor


def page_of(request: HttpRequest, rows: Any) -> tuple[list[Any], str | None]:
    """Return the rows of the page asked for, of a QuerySet of rows with `public_id`, and the cursor of the next page."""
    refuse_unknown(request, (LIMIT.name, CURSOR.name))
    limit = number(request, LIMIT) or 0
    text = one(request, CURSOR)
    if text is not None:
        # Looked for among the rows that this principal may see: a cursor of somebody else's is none.
        last = None if "\x00" in text else rows.filter(public_id=text).first()
        if last is None:
            raise InvalidCursor("The cursor is not one of this list.", hint="Begin anew without one.")
        rows = rows.filter(pk__lt=last.pk)
    found = list(rows.order_by("-pk")[: limit + 1])
    following = found[limit - 1].public_id if len(found) > limit else None
    return found[:limit], following
