"""The standard cleanup: what the workspace itself leaves behind. It knows nothing of the ledger and cannot reach an event.

Audit events have a retention of their own (`retention.jobs.run_prune`); the two share neither settings nor code.

Rooms beside this one are known as Django apps only: one that leaves something behind has `standard_cleanup(now) -> int` in
its AppConfig, which deletes what is over and returns how much, and `standard_cleanup_preview(now) -> int`, which only counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.sessions.models import Session
from django.db import transaction

from opssentinal.workspace.preferences import preferences

SESSIONS_AT_ONCE = 1000
# A session's row and the row that lists it are written one after the other; only older ones can be told to be without.
_LISTED_AGE = timedelta(hours=1)

# What is counted, by the label of the app that has it.
_ROOMS: Final = {"exports": "exports", "integrations": "deliveries", "incidents": "incidents"}
_WORDS: Final = {
    "sessions": ("session", "sessions"),
    "exports": ("export file", "export files"),
    "deliveries": ("delivery", "deliveries"),
    "incidents": ("incident", "incidents"),
}


def clean(now: datetime, counts: dict[str, int]) -> None:
    """Delete everything that is over, noting in `counts` what is done, so that a failure half way leaves it known."""
    counts["sessions"] = delete_expired_sessions(now)
    for name, room in _rooms():
        counts[name] = int(room.standard_cleanup(now))


def preview(now: datetime) -> dict[str, int]:
    """What `clean` would delete now."""
    return {
        "sessions": _expired_sessions(now).count(),
        **{name: int(room.standard_cleanup_preview(now)) for name, room in _rooms()},
    }


def counts_text(counts: dict[str, int]) -> str:
    """Counts in words: `12 sessions, 1 export file`."""
    return ", ".join(f"{count:,} {_WORDS[name][count != 1]}" for name, count in counts.items())


def delete_expired_sessions(now: datetime) -> int:
    """Delete sessions that expired at least `cleanup_sessions_days` ago, and what lists them; return how many."""
    deleted = 0
    while keys := list(_expired_sessions(now).values_list("session_key", flat=True)[:SESSIONS_AT_ONCE]):
        with transaction.atomic():  # a short one each time, so that nobody waits long
            UserSession.objects.filter(session_key__in=keys).delete()
            Session.objects.filter(session_key__in=keys).delete()
        deleted += len(keys)
    with transaction.atomic():
        UserSession.objects.filter(created_at__lt=now - _LISTED_AGE).exclude(
            session_key__in=Session.objects.values("session_key")
        ).delete()
    return deleted


def _expired_sessions(now: datetime) -> Any:
    return Session.objects.filter(expire_date__lt=now - timedelta(days=preferences().cleanup_sessions_days))


def _rooms() -> Iterator[tuple[str, Any]]:
    for label, name in _ROOMS.items():
        if apps.is_installed(f"opssentinal.{label}"):
            yield name, apps.get_app_config(label)
