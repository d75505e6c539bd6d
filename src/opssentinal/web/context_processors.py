"""What the shell around every page shows: navigation for this person's role, workspace, theme, banners."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from opssentinal.ledger.sequencer import running
from opssentinal.retention import clock
from opssentinal.web.navigation import account_links, sections
from opssentinal.workspace.preferences import preferences

THEME_COOKIE = "theme"
THEMES = ("light", "dark")


def shell(request: HttpRequest) -> dict[str, Any]:
    """Give `nav` (sections with links), `user_links`, `theme` ("light", "dark" or "" for the system's) and `demo`.

    Also `not_recording`: why nothing can be recorded now, if so; `clock_leap`, for admins: why retention waits, if it does;
    and `workspace_name`, which every page's title ends with.
    """
    theme = request.COOKIES.get(THEME_COOKIE, "")
    user = getattr(request, "user", None)  # absent where a response is made before the session is read
    known = user if user is not None and user.is_authenticated else None
    return {
        "nav": sections(known, request.path) if known else [],
        "user_links": account_links() if known else [],
        "theme": theme if theme in THEMES else "",
        "demo": settings.CONFIG.demo,
        "workspace_name": preferences().workspace_name,
        "not_recording": _not_recording() if known else "",
        "clock_leap": clock.leap(timezone.now()) if known and known.is_admin else None,
    }


def _not_recording() -> str:
    sequencer = running()
    if sequencer is None:
        return ""
    health = sequencer.health()
    return health.damage or health.failure or ""
