"""A person with a browser that runs no scripts: cookies, forms and their tokens, over plain HTTP."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Visitor:
    """One browser session with a server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> tuple[int, str]:
        """GET a page; return the status and the text, redirects followed."""
        return self._open(urllib.request.Request(self.url + path))

    def post(self, path: str, page: str, **fields: str) -> tuple[int, str]:
        """Send a form with the token of the page it stands on."""
        found = _TOKEN.search(page)
        assert found is not None, page[:500]
        body = urllib.parse.urlencode({"csrfmiddlewaretoken": found[1], **fields}).encode()
        return self._open(urllib.request.Request(self.url + path, body, {"Referer": self.url + path}))

    def sign_in(self, email: str, password: str) -> tuple[int, str]:
        """Sign in through the page."""
        _, page = self.get("/accounts/login/")
        return self.post("/accounts/login/", page, login=email, password=password)

    def _open(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with self._opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
