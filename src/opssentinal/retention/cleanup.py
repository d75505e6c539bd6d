"""The standard cleanup: what the workspace itself leaves behind. It knows nothing of the ledger and cannot reach an event.

Audit events have a retention of their own (`retention.jobs.run_prune`); the two share neither settings nor code.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.sessions.models import Session
from django.db import transaction

from opssentinal.workspace.preferences import Preferences

SESSIONS_AT_ONCE = 1000
# A session's row and the row that lists it are written one after the other; only older ones can be told to be without.
_LISTED_AGE = timedelta(hours=1)


def delete_expired_sessions(now: datetime, preferences: Preferences) -> int:
    """Delete sessions that expired at least `cleanup_sessions_days` ago, and what lists them; return how many."""
    before = now - timedelta(days=preferences.cleanup_sessions_days)
    deleted = 0
    while keys := list(
        Session.objects.filter(expire_date__lt=before).values_list("session_key", flat=True)[:SESSIONS_AT_ONCE]
    ):
        with transaction.atomic():  # a short one each time, so that nobody waits long
            UserSession.objects.filter(session_key__in=keys).delete()
            Session.objects.filter(session_key__in=keys).delete()
        deleted += len(keys)
    with transaction.atomic():
        UserSession.objects.filter(created_at__lt=now - _LISTED_AGE).exclude(
            session_key__in=Session.objects.values("session_key")
        ).delete()
    return deleted


def delete_expired_exports(now: datetime) -> int:
    """Delete the files of exports whose time is over; their rows stay. Return how many."""
    exports: Any = apps.get_app_config("exports")  # a room beside this one, known as an app only
    return int(exports.standard_cleanup(now))
