"""Second factors: what an account has besides its password, who must have one, and taking them away.

django-allauth keeps them as Authenticator rows (authenticator apps, passkeys and security keys, recovery codes). Recovery
codes are a way out when the real factor is lost and no factor of their own: they go when the last real one goes.
"""

from __future__ import annotations

from collections.abc import Callable

from allauth.mfa.models import Authenticator

from opssentinal.events.model import Actor, Change, Context, Event
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences
from opssentinal.workspace.principals import user_target

Type = Authenticator.Type
REAL_FACTORS = (Type.TOTP, Type.WEBAUTHN)
# What an event calls the change: an authenticator app, a passkey, recovery codes.
_FIELDS = {Type.TOTP: "second_factor", Type.WEBAUTHN: "passkey", Type.RECOVERY_CODES: "recovery_codes"}


def has_second_factor(user: User) -> bool:
    """Whether the account has an authenticator app or a passkey."""
    return Authenticator.objects.filter(user_id=user.pk, type__in=REAL_FACTORS).exists()


def is_required(user: User) -> bool:
    """Whether this account must have a second factor."""
    required = preferences().second_factor_required
    return required == "everybody" or (required == "admins" and user.is_admin)


def reset(record: Callable[[Event], None], user: User, actor: Actor, context: Context) -> int:
    """Take away all second factors of an account and record user.updated, inside the caller's recording().

    Return how many there were, recovery codes included; nothing is recorded where there was none. Sessions go on.
    """
    removed = list(Authenticator.objects.select_for_update().filter(user_id=user.pk).order_by("pk"))
    if removed:
        Authenticator.objects.filter(pk__in=[factor.pk for factor in removed]).delete()
        changes = [changed(factor, before=factor_name(factor)) for factor in removed]
        record(updated(user, actor, context, *changes))
    return len(removed)


def updated(user: User, actor: Actor, context: Context, *changes: Change) -> Event:
    """The event of an account whose second factors changed."""
    return Event(
        action="user.updated",
        outcome="success",
        actor=actor,
        targets=[user_target(user)],
        context=context,
        changes=list(changes),
    )


def changed(factor: Authenticator, *, before: str | None = None, after: str | None = None) -> Change:
    """What an event tells of a factor: its kind and its name, and nothing that signs in."""
    return Change(field=_FIELDS[Type(factor.type)], before=before, after=after)


def factor_name(factor: Authenticator) -> str:
    """How an event names a factor: a passkey by the name its owner gave it, cut to what is readable."""
    if factor.type == Type.WEBAUTHN:
        return str(factor.wrap().name)[:100]
    return str(factor.type)
