"""The address under which people reach the product, for links in messages and for what a browser's request may carry.

It is OPSSENTINAL_BASE_URL until an admin enters another on Settings → General. That one is then answered to at once, beside
the configured names, so that a link works from the moment it can be sent.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings

from opssentinal.workspace.preferences import preferences


def public_url() -> str:
    """The address, without a slash at its end, such as https://audit.example.com."""
    return preferences().public_url or str(settings.CONFIG.base_url)


def public_link(path: str) -> str:
    """A whole address of a page; `path` begins with a slash."""
    return public_url() + path


def public_host() -> str:
    """The host name of the address, as requests carry it, without a port; IPv6 in brackets."""
    parts = urlsplit(public_url())
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def public_origin() -> str:
    """Scheme, host and port of the address, as a browser writes them into `Origin`."""
    parts = urlsplit(public_url())
    return f"{parts.scheme}://{parts.netloc.lower()}"
