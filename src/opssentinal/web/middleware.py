"""What every page's answer is given: the Content-Security-Policy, and a way on where it refuses."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

_API = "/api/"

_SOURCES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
POLICY = "; ".join(f"{directive} {source}" for directive, source in _SOURCES.items())


class ContentSecurityPolicy:
    """Nothing but our own files, no inline script or style, no frames; a policy that a view has set stricter stays.

    An audit log shows text that attackers wrote; the policy is the second wall behind escaping.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response


class WayOn:
    """Leads on where an answer would be a dead end in a browser.

    A form that was sent after the session had ended leads through sign-in back to the page it stood on, not to its own
    address, which takes no visit. A method that an address does not take gets a page; the API has words of its own.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.path.startswith(_API):
            return response
        if response.status_code == 405 and not response.content:
            page = render(request, "405.html", status=405)
            page.headers["Allow"] = response.headers["Allow"]
            return page
        sign_in = resolve_url(settings.LOGIN_URL)
        if request.method == "POST" and response.headers.get("Location", "").startswith(f"{sign_in}?next="):
            return redirect_to_login(_page_of_form(request))
        return response


def _page_of_form(request: HttpRequest) -> str:
    """The path of the page that a form was sent from; the start where the browser does not say, or says another host."""
    page = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure()):
        return "/"
    parts = urlsplit(page)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
