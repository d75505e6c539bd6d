"""The links of the left navigation, by role: nobody is shown a page that would refuse them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.http import HttpRequest
from django.urls import reverse

if TYPE_CHECKING:
    from opssentinal.workspace.models import User


class Link(NamedTuple):
    """One link; `current` is "page" where the page itself is shown, "true" where one below it is, else empty."""

    title: str
    url: str
    icon: str
    current: str


class Section(NamedTuple):
    """A titled group of links."""

    title: str
    links: list[Link]


# title, section, address name, icon, admins only
_PAGES = (
    ("Insights", "Audit Logs", "web:log", "list", True),
    ("Insights", "Event types", "web:event_types", "tag", False),
    ("Insights", "Exports", "exports:index", "download", True),
    ("Settings", "Data Retention", "retention:index", "clock", True),
    ("Settings", "API keys", "apikeys:index", "key", True),
)


def is_admin(request: HttpRequest) -> bool:
    """Whether the signed-in account may read the log."""
    return bool(getattr(request.user, "is_admin", False))  # an anonymous visitor has no role


def sections(user: User, path: str) -> list[Section]:
    """Return the sections that hold at least one link for this account; `path` is the page being shown."""
    found: dict[str, list[Link]] = {}
    for section, title, name, icon, admins_only in _PAGES:
        if admins_only and not user.is_admin:
            continue
        url = reverse(name)
        current = "page" if path == url else "true" if path.startswith(url) else ""
        found.setdefault(section, []).append(Link(title, url, icon, current))
    return [Section(title, links) for title, links in found.items()]


_ACCOUNT = (("Profile", "workspace:profile", "user"), ("Sessions", "usersessions_list", "screen"))


def account_links() -> list[Link]:
    """Return the links of the user menu, the same for everybody."""
    return [Link(title, reverse(name), icon, "") for title, name, icon in _ACCOUNT]
