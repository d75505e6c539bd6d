"""The browsers in which an account is signed in, and ending them.

A session is two rows: Django's, which signs the browser in, and allauth's, which says where and when for the list. They are
made and deleted together; without Django's row the browser is a stranger at its next request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import ua_parser
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.utils import timezone

from opssentinal.events.model import Actor, Context, Event
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import session_reference, user_target


def live_sessions(user: User) -> list[UserSession]:
    """The account's sessions that have not expired, the most recently used first."""
    listed = UserSession.objects.filter(user=user).order_by("-last_seen_at")
    live = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    return list(listed.filter(session_key__in=live))


def revoke(sessions: Iterable[UserSession], actor: Actor, context: Context, record: Callable[[Event], None]) -> int:
    """End sessions and record session.revoked for each, inside the caller's recording(); return how many.

    One that somebody else ended meanwhile is neither counted nor recorded.
    """
    ended = 0
    for session in sessions:
        deleted, _ = UserSession.objects.filter(pk=session.pk).delete()
        if not deleted:
            continue
        Session.objects.filter(session_key=session.session_key).delete()
        ended += 1
        record(
            Event(
                action="session.revoked",
                outcome="success",
                actor=actor,
                targets=[user_target(session.user)],
                context=context,
                metadata={"session_id": session_reference(session.session_key)},
            )
        )
    return ended


def end_all(user: User) -> int:
    """End every session of an account, inside the caller's transaction, and return how many were listed.

    For changes whose own event tells it, such as user.deactivated.
    """
    keys = list(UserSession.objects.filter(user=user).values_list("session_key", flat=True))
    UserSession.objects.filter(user=user).delete()
    Session.objects.filter(session_key__in=keys).delete()
    return len(keys)


@lru_cache(maxsize=1024)
def browser_name(user_agent: str) -> str:
    """Browser and system in a few words, such as "Firefox 140 on Linux"; "Unknown browser" if nothing is recognised."""
    found = ua_parser.parse(user_agent)
    browser, system = found.user_agent, found.os
    if browser is None and system is None:
        return "Unknown browser"
    name = " ".join(part for part in (browser.family, browser.major) if part) if browser else "Unknown browser"
    return f"{name} on {system.family}" if system else name
