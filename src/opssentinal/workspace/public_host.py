"""The public URL's host among the host names that requests may carry, as it is at each request.

Django reads ALLOWED_HOSTS before there are models and keeps it; this one element of it looks at the preferences when, and
only when, a request's host is none of the configured ones.
"""

from __future__ import annotations

from typing import Self

from django.utils.module_loading import import_string

_NO_HOST = "\x00"  # stands in no valid Host header


class PublicHost(str):
    """An element of ALLOWED_HOSTS. Django compares by what `lower()` returns (django.http.request.validate_host)."""

    __slots__ = ()

    def __new__(cls) -> Self:
        return super().__new__(cls, "(the public URL)")

    def lower(self) -> str:
        """The host of the public URL as it is now."""
        return str(import_string("opssentinal.workspace.public_url.public_host")()).lower() or _NO_HOST
