"""The links of the left navigation, by role: nobody is shown a page that would refuse them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.http import HttpRequest
from django.urls import reverse

from opssentinal.approvals.services import waiting_for
from opssentinal.workspace.access import reads_log

if TYPE_CHECKING:
    from opssentinal.workspace.models import User


class Link(NamedTuple):
    """One link; `current` is "page" where the page itself is shown, "true" where one below it is, else empty.

    `waiting` is how many things there this person is waited for with.
    """

    title: str
    url: str
    icon: str
    current: str
    waiting: int = 0


class Section(NamedTuple):
    """A titled group of links."""

    title: str
    links: list[Link]


# section, title, address name, icon, who is shown it: "admins", "log" (who may read the log) or "all"
_PAGES = (
    ("Insights", "Audit Logs", "web:log", "list", "log"),
    ("Insights", "Incidents", "incidents:index", "flag", "all"),
    ("Insights", "Event types", "web:event_types", "tag", "all"),
    ("Insights", "Exports", "exports:index", "download", "log"),
    ("Settings", "General", "workspace:general", "sliders", "admins"),
    ("Settings", "Security", "workspace:security", "lock", "admins"),
    ("Settings", "Users", "users:index", "user", "admins"),
    ("Settings", "Single sign-on", "sso:index", "shield", "admins"),
    ("Settings", "Integrations", "integrations:index", "send", "admins"),
    ("Settings", "API keys", "apikeys:index", "key", "admins"),
    ("Settings", "Data Retention", "retention:index", "clock", "admins"),
    ("Settings", "Approvals", "approvals:index", "check", "admins"),
)


def is_log_reader(request: HttpRequest) -> bool:
    """Whether the signed-in account may read the log."""
    return reads_log(request.user)


def sections(user: User, path: str) -> list[Section]:
    """Return the sections that hold at least one link for this account; `path` is the page being shown."""
    found: dict[str, list[Link]] = {}
    seen = {"all"} | ({"admins"} if user.is_admin else set()) | ({"log"} if reads_log(user) else set())
    for section, title, name, icon, audience in _PAGES:
        if audience not in seen:
            continue
        url = reverse(name)
        current = "page" if path == url else "true" if path.startswith(url) else ""
        waiting = waiting_for(user) if name == "approvals:index" else 0
        found.setdefault(section, []).append(Link(title, url, icon, current, waiting))
    return [Section(title, links) for title, links in found.items()]


_ACCOUNT = (("Profile", "workspace:profile", "user"), ("Sessions", "usersessions_list", "screen"))


def account_links() -> list[Link]:
    """Return the links of the user menu, the same for everybody."""
    return [Link(title, reverse(name), icon, "") for title, name, icon in _ACCOUNT]
