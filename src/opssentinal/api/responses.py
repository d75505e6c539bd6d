"""What every answer of the API has in common: JSON from msgspec, a request id, problem details for every error."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase

from opssentinal.errors import InvalidInput, NotFound, OpsSentinalError, TooLarge, Unavailable
from opssentinal.formats.problem import PROBLEM_TYPE, problem_json
from opssentinal.ingest.app import error_headers, request_id
from opssentinal.ledger.outcome import disk_full, is_disk_full

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class MethodNotAllowed(OpsSentinalError):
    """The address exists, but not for this method."""

    code = "method_not_allowed"
    title = "Method not allowed"
    status = 405


def json_response(value: Any, status: int = 200) -> HttpResponse:
    """A response of a msgspec value, or of `bytes` that are JSON already."""
    content = value if isinstance(value, bytes) else _encode(value)
    return HttpResponse(content, status=status, content_type="application/json")


def problem_response(request: HttpRequest, error: OpsSentinalError) -> HttpResponse:
    """An error as problem details, with the headers that belong to it."""
    response = HttpResponse(problem_json(error, id_of(request)), status=error.status, content_type=PROBLEM_TYPE)
    for name, value in error_headers(error):
        response.headers[name] = value
    return response


def id_of(request: HttpRequest) -> str:
    """The request's id: the caller's X-Request-Id or one of our own, the same however often it is asked for."""
    found: str | None = getattr(request, "opssentinal_id", None)
    if found is None:
        found = request_id(request.headers.get("X-Request-Id", ""))
        request.opssentinal_id = found  # type: ignore[attr-defined]
    return found


def as_our_error(error: Exception) -> OpsSentinalError:
    """The error of ours that says what went wrong; what nobody foresaw is logged and becomes a plain 500."""
    if isinstance(error, OpsSentinalError):
        return error
    if isinstance(error, Http404):
        return NotFound("There is nothing at this address.", hint="See /api/v1/docs.")
    if isinstance(error, RequestDataTooBig):
        return TooLarge("The body is too large.")
    if isinstance(error, SuspiciousOperation):
        return InvalidInput("The request is malformed.")
    if isinstance(error, DatabaseError):
        log.error("The database failed: %s", error)
        if is_disk_full(error):
            return disk_full()
        return Unavailable("The database does not answer.", hint="Try again.")
    log.error("A request failed", exc_info=error)
    return OpsSentinalError("The request could not be handled; the server's log says why.")


def api_view(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Wrap a view of the API: every error a problem, every response with its request id and what is left of the limit."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
            if isinstance(response, HttpResponseNotAllowed):
                allowed = response.headers["Allow"]
                response = problem_response(
                    request, MethodNotAllowed(f"{request.method} is not possible here.", hint=f"Possible: {allowed}.")
                )
                response.headers["Allow"] = allowed
        except Exception as error:  # noqa: BLE001 - as_our_error logs what nobody foresaw
            response = problem_response(request, as_our_error(error))
        response.headers["X-Request-Id"] = id_of(request)
        for name, value in getattr(request, "rate_headers", ()):
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return wrapped


def no_such_address(request: HttpRequest, rest: str = "") -> HttpResponse:
    """The answer to every address below /api/ that is none."""
    return problem_response(request, NotFound("There is nothing at this address.", hint="See /api/v1/docs."))
