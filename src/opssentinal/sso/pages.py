"""The two plain pages of signing in through the provider: on the way there, and where it ended."""

from __future__ import annotations

from urllib.parse import quote

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from opssentinal.sso.refusal import REASONS, SignInRefused

_STATUS = {"provider_error": 502, "switched_off": 404, "state_mismatch": 400, "configuration_changed": 400, "busy": 503}


def leave(request: HttpRequest, name: str, url: str) -> HttpResponse:
    """Send the browser to another site after a form, with a page instead of a redirect.

    Our policy lets forms lead nowhere else (`form-action 'self'`), and Chromium holds every redirect after a form to it,
    also those of a provider that passes people on to further ones. A page that refreshes is a navigation of its own.
    """
    response = render(request, "sso/leaving.html", {"name": name, "url": url})
    response.headers["Refresh"] = f"0;url={quote(url, safe=_URL_SAFE)}"
    return response


def refused_page(request: HttpRequest, refused: SignInRefused, name: str) -> HttpResponse:
    """The end of a sign-in, in words that tell the person what to do and a stranger nothing about the account."""
    status = _STATUS.get(refused.reason, 403)
    return render(request, "sso/refused.html", {"name": name, "text": REASONS[refused.reason]}, status=status)


# RFC 3986, Section 2: what a URL is written with; anything else in a provider's address is escaped.
_URL_SAFE = "%:/?#[]@!$&'()*+,;=-._~"
