"""The accounts as people look for them: by role, by state, by a part of a name or address, with when each was last seen."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, Value, When
from django.utils import timezone

from opssentinal.events.model import rfc3339
from opssentinal.workspace.models import User

# Each state with what it means. An account has exactly one: the first that is true of it, in the order of `_state`.
STATES = {
    "active": "Can sign in",
    "invited": "Has never signed in and has no password yet",
    "expired": "Its time is over",
    "deactivated": "Switched off by an admin",
}
SEARCH_MAX = 200


def accounts_with_state() -> QuerySet[Any]:
    """Every account by its address, each with `state`, a key of STATES, and `session_seen_at`."""
    sessions = UserSession.objects.filter(user=OuterRef("pk")).order_by("-last_seen_at")
    return User.objects.annotate(
        state=_state(timezone.now()), session_seen_at=Subquery(sessions.values("last_seen_at")[:1])
    ).order_by("email")


def find_accounts(*, search: str = "", role: str = "", state: str = "") -> QuerySet[Any]:
    """Those whose name or address contains `search`, in any case, with this role and in this state; "" for any."""
    found = accounts_with_state()
    if search:
        found = found.filter(Q(name__icontains=search) | Q(email__icontains=search))
    if role:
        found = found.filter(role=role)
    return found.filter(state=state) if state else found


def last_seen(user: Any) -> datetime | None:
    """When an account of `accounts_with_state` last did something here, to the minute; None for never."""
    return max(filter(None, (user.last_login, user.session_seen_at)), default=None)


def account_facts(user: Any) -> dict[str, Any]:
    """What commands say of an account of `accounts_with_state`, ready for JSON."""
    seen = last_seen(user)
    return {
        "id": f"user_{user.pk}",
        "email": user.email,
        "name": user.name,
        "role": str(user.role),
        "state": user.state,
        "created_at": rfc3339(user.date_joined),
        "last_seen_at": seen and rfc3339(seen),
        "expires_at": user.expires_at and rfc3339(user.expires_at),
        "log_from": user.log_from and rfc3339(user.log_from),
        "log_until": user.log_until and rfc3339(user.log_until),
    }


def _state(now: datetime) -> Case:
    return Case(
        When(is_active=False, then=Value("deactivated")),
        When(expires_at__lte=now, then=Value("expired")),
        When(password__startswith=UNUSABLE_PASSWORD_PREFIX, last_login=None, then=Value("invited")),
        default=Value("active"),
    )
