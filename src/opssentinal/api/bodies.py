"""JSON request bodies of the API, decoded strictly into the types that the document shows."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from django.http import HttpRequest

from opssentinal.errors import InvalidInput, TooLarge, UnsupportedMediaType

BODY_BYTES_MAX = 64 * 1024

T = TypeVar("T")


def body_of(request: HttpRequest, kind: type[T]) -> T:
    """Decode the body as `kind`. Raises InvalidInput with the path of what is wrong, TooLarge, UnsupportedMediaType."""
    if request.content_type != "application/json":
        raise UnsupportedMediaType("The body must be JSON.", hint="Send Content-Type: application/json.")
    body = request.read(BODY_BYTES_MAX + 1)
    if len(body) > BODY_BYTES_MAX:
        raise TooLarge(f"The body is over {BODY_BYTES_MAX:,} bytes.")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason, _, place = str(error).partition(" - at `")
        raise InvalidInput(reason.replace("`", "'"), path=place.rstrip("`") or "$") from error
