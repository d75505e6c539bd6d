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
NAME_MAX = 100
RECOVERY_CODES = 10  # django-allauth's own default
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
    """How an event names a factor: a passkey by what its owner calls it, recovery codes by when they were made."""
    match Type(factor.type):
        case Type.WEBAUTHN:
            return str(factor.wrap().name)[:NAME_MAX]
        case Type.RECOVERY_CODES:
            return f"made {factor.created_at:%Y-%m-%d %H:%M:%S} UTC"
        case _:
            return "authenticator app"


def factors(user: User) -> dict[int, Authenticator]:
    """The account's factors by their row's id, recovery codes included."""
    return {factor.pk: factor for factor in Authenticator.objects.filter(user_id=user.pk).order_by("pk")}


def differences(before: dict[int, Authenticator], after: dict[int, Authenticator]) -> list[Change]:
    """What changed between two looks at `factors`; one that takes another's place is one change."""
    gone = [factor for pk, factor in before.items() if pk not in after]
    changes = []
    for pk, factor in after.items():
        old = before.get(pk) or next((one for one in gone if one.type == factor.type), None)
        if old in gone:
            gone.remove(old)
        names = (factor_name(old) if old else None), factor_name(factor)
        if old is None or old.pk != factor.pk or names[0] != names[1]:
            changes.append(changed(factor, before=names[0], after=names[1]))
    return changes + [changed(factor, before=factor_name(factor)) for factor in gone]
