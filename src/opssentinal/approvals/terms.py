"""Who has been an admin since when and until when: the rule of the second admin must not end with a role taken away.

Whoever is demoted or switched off still counts as the second admin for a while, and whoever was made an admin, or was given
a new way in, after something was asked for does not approve it. Kept from the accounts' own signals, in the transaction of
the change, whichever room makes it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from allauth.mfa.models import Authenticator
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.signals import post_delete, post_save
from django.utils import timezone

from opssentinal.approvals.models import AdminTerm
from opssentinal.workspace.letting_in import let_in
from opssentinal.workspace.models import Role, User
from opssentinal.workspace.preferences import preferences

# Without a cool-down too there is time in which others can see what was done to the admins.
LEAST_MEMORY: Final = timedelta(days=1)
_DECIDING: Final = {"role", "is_active", "expires_at", "link_expires_at", "email"}


def connect() -> None:
    """Follow the accounts; called when the app is ready."""
    post_save.connect(_follow, sender=User, dispatch_uid="approvals.terms")
    post_delete.connect(_factor_removed, sender=Authenticator, dispatch_uid="approvals.factors")
    let_in.connect(_let_in, sender=User, dispatch_uid="approvals.let_in")


def active_admins(now: datetime | None = None) -> QuerySet[User]:
    """The admins who can sign in now."""
    return User.objects.filter(_is_active_admin(now or timezone.now()))


def are_several(now: datetime | None = None) -> bool:
    """Whether there are two admins or more, counting those who have been until lately: the cool-down, or at least a day."""
    now = now or timezone.now()
    lately = now - max(timedelta(hours=preferences().retention_cooldown_hours), LEAST_MEMORY)
    return User.objects.filter(_is_active_admin(now) | Q(admin_term__until__gt=lately)).count() > 1


def has_been_admin_since(user: User, moment: datetime) -> bool:
    """Whether the account has been this admin's own since before that moment: made, promoted and let in earlier."""
    unchanged = Q(let_in_at=None) | Q(let_in_at__lte=moment)
    return AdminTerm.objects.filter(
        unchanged, user_id=user.pk, since__lte=moment, user__date_joined__lte=moment
    ).exists()


def _is_active_admin(now: datetime) -> Q:
    return Q(role=Role.ADMIN, is_active=True) & (Q(expires_at=None) | Q(expires_at__gt=now))


def _follow(instance: User, update_fields: frozenset[str] | None = None, **_: Any) -> None:
    if update_fields is not None and not _DECIDING & update_fields:
        return
    now = timezone.now()
    with transaction.atomic():
        term = AdminTerm.objects.select_for_update().filter(user_id=instance.pk).first()
        lasts = term is not None and (term.until is None or term.until > now)
        if instance.is_admin and instance.can_sign_in:
            if term is None:
                term = AdminTerm(user_id=instance.pk, since=now)
            elif not lasts:
                term.since = now
            term.until = instance.expires_at
        elif term is not None and lasts:
            term.until = now
        if term is not None:
            if update_fields is not None and _lets_in(instance, update_fields):
                term.let_in_at = now
            term.save()


def _lets_in(user: User, changed: frozenset[str]) -> bool:
    """Whether the change is a way in: a link, or the address by which single sign-on finds the account."""
    return "email" in changed or ("link_expires_at" in changed and user.link_expires_at is not None)


def _factor_removed(instance: Authenticator, **_: Any) -> None:
    _note_let_in(instance.user_id)


def _let_in(user: User, **_: Any) -> None:
    _note_let_in(user.pk)


def _note_let_in(user_id: int) -> None:
    with transaction.atomic():
        AdminTerm.objects.filter(user_id=user_id).update(let_in_at=timezone.now())
