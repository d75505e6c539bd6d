"""Errors as RFC 9457 problem details, the same on the ingest path and in the rest of the API.

    {"type": "urn:opssentinal:error:invalid_query", "title": "Invalid query", "status": 400, "detail": "…",
     "instance": "<request id>", "code": "invalid_query", "hint": "…", "errors": [{"path": "from", "detail": "…"}]}

`code` is what programs compare; `instance` is the request's id, also in the header X-Request-Id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.json import Encoder

from opssentinal.errors import InvalidInput, OpsSentinalError, Overloaded, Unavailable

PROBLEM_TYPE = "application/problem+json"
UNAVAILABLE_RETRY_S = 2


class ProblemItem(Struct, omit_defaults=True):
    """One thing that is wrong. `path` is a JSON path or the name of a parameter."""

    detail: str
    path: str = ""


class Problem(Struct, omit_defaults=True):
    """An error, as RFC 9457 describes it, with the members `code`, `hint` and `errors` of our own."""

    type: str
    title: str
    status: int
    detail: str
    instance: Annotated[str, Meta(description="the id of the request")]
    code: str
    hint: str = ""
    errors: list[ProblemItem] = []


_encode = Encoder().encode


def problem_json(error: OpsSentinalError, request_id: str, errors: Sequence[ProblemItem] = ()) -> bytes:
    """Write an error as problem+json. An InvalidInput with a path gets an `errors` item of its own."""
    items = list(errors)
    if not items and isinstance(error, InvalidInput) and error.path:
        items = [ProblemItem(error.detail.removeprefix(f"{error.path}: "), error.path)]
    return _encode(
        Problem(
            type=f"urn:opssentinal:error:{error.code}",
            title=error.title,
            status=error.status,
            detail=error.detail,
            instance=request_id,
            code=error.code,
            hint=error.hint,
            errors=items,
        )
    )


def retry_after_s(error: OpsSentinalError) -> int | None:
    """The Retry-After of an error, in seconds; None where trying the same again cannot help."""
    if isinstance(error, Overloaded):
        return error.retry_after_s
    if isinstance(error, Unavailable) and not error.permanent and error.code != "query_timeout":
        return UNAVAILABLE_RETRY_S
    return None
