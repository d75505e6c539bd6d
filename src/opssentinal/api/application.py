"""The API put together: routers, errors, the document and its page."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from django.views.decorators.csrf import csrf_exempt
from ninja.errors import AuthenticationError, HttpError, ValidationError

from opssentinal.api import events, exports, incidents, keys
from opssentinal.api.document import API
from opssentinal.api.reference import Reference
from opssentinal.api.responses import api_view, as_our_error, problem_response
from opssentinal.errors import InvalidInput, NotFound, OpsSentinalError, Unauthenticated

api = API(
    title="OpsSentinal",
    version="1",
    description="Send events to the audit log and read them. Errors are RFC 9457 problem details; times are RFC 3339 in UTC.",
    urls_namespace="api",
    docs=Reference(),
)
for router in (events.router, exports.router, incidents.router, keys.router):
    api.add_router("", router)


@api.exception_handler(Exception)
def _any(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem_response(request, as_our_error(error))


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem_response(request, NotFound("There is no such thing."))


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem_response(request, InvalidInput("The request does not have the documented form."))


@api.exception_handler(HttpError)
def _http(request: HttpRequest, error: Exception) -> HttpResponse:
    if isinstance(error, AuthenticationError):
        return problem_response(request, Unauthenticated("The request carries no valid API key."))
    failure = OpsSentinalError(str(error))
    failure.status = error.status_code if isinstance(error, HttpError) else 500
    return problem_response(request, failure)


def _wrapped(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """Wrap every view, so that what ninja answers by itself (405) looks like the rest.

    None looks at cookies, so there is no form to be forged, and the answer to one without a token is no page either.
    """
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = csrf_exempt(api_view(pattern.callback))
    return patterns


_patterns, _app_name, _namespace = api.urls
urls = (_wrapped(_patterns), _app_name, _namespace)
