"""Accounts come into being, change and are switched off here, whoever asks for it, and always with their record.

One rule stands over all of it: a workspace keeps an admin who can sign in. It is decided here, under a lock, so that pages,
commands and single sign-on cannot differ about it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q

from opssentinal.errors import Conflict, InvalidInput, NotFound
from opssentinal.events.model import Actor, Change, Context, Event, rfc3339
from opssentinal.ledger.recording import recording
from opssentinal.workspace.demotion import end_admin_powers
from opssentinal.workspace.links import Purpose, end_links, has_link, link_end, password_link
from opssentinal.workspace.models import Role, SetupToken, User
from opssentinal.workspace.password_refusal import password_refusal
from opssentinal.workspace.passwordless import is_way_in_open
from opssentinal.workspace.principals import user_target
from opssentinal.workspace.sessions import end_all

Record = Callable[[Event], None]

CHANGEABLE = ("name", "email", "expires_at", "log_from", "log_until")
NO_PASSWORD = (
    "No active admin without an end has a password, so nobody could let others in while single sign-on is off. "
    "Give an admin a password first."
)
NO_PASSWORD_HINT = (
    "Another admin makes a reset link under Users, or `opssentinal user reset-password` on the server does."
)
LAST_ADMIN = "This is the last admin who can sign in for good. Make somebody else an admin first."

# Nobody whose time will be over can be the one to let others in.
_LASTING_ADMIN = Q(role=Role.ADMIN, is_active=True, expires_at=None)
_WITH_PASSWORD = ~Q(password__startswith=UNUSABLE_PASSWORD_PREFIX)


def new_account(*, email: str, name: str, role: str, password: str | None, **limits: datetime | None) -> User:
    """Make a valid account with its password hashed, not saved yet, so that hashing stays outside of the transaction.

    Without a password nobody can sign in with one until a link has been used to set it. `limits` are expires_at, log_from
    and log_until. Raises Django's ValidationError with all faults by field.
    """
    user = User(email=email.strip().lower(), name=name.strip(), role=role, **limits)
    faults: dict[str, list[ValidationError]] = {}
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        faults.update(error.error_dict)
    try:
        if password is not None:
            validate_password(password, user)
    except ValidationError as error:
        faults["password"] = error.error_list
    if faults:
        raise ValidationError(faults)
    user.set_password(password)
    return user


def insert_account(user: User) -> None:
    """Save a new account; from the first one on /setup is closed. Raises Conflict if somebody took the address meanwhile."""
    try:
        user.save(force_insert=True)
    except IntegrityError as error:
        raise _taken(user.email) from error
    SetupToken.objects.all().delete()


def create_account(actor: Actor, context: Context, *, email: str, name: str, role: str, password: str) -> User:
    """Create an account and record user.created in one transaction. Raises ValidationError (by field) and Conflict."""
    user = new_account(email=email, name=name, role=role, password=password)
    with recording() as record:
        insert_account(user)
        record(created(user, actor, context))
    return user


def created(user: User, actor: Actor, context: Context, **metadata: Any) -> Event:
    """The event of a new account."""
    return account_event("user.created", user, actor, context, metadata={"role": str(Role(user.role).value)} | metadata)


def change_role(
    record: Record, user: User, role: str, actor: Actor, context: Context, *, metadata: dict[str, Any] | None = None
) -> bool:
    """Give an account another role and record user.role_changed, inside the caller's recording().

    Returns whether anything changed; `user` is brought up to date. With the admin role ends what was made with its power
    (`demotion`), API keys above all. Raises Conflict `last_admin` where nobody would be left to let others in, and InvalidInput for a role that there is not.
    """
    if role not in Role.values:
        raise InvalidInput(f"There is no role {role!r}.", hint=f"There are {', '.join(Role.values)}.")
    before = locked(user).role
    if role == before:
        return False
    if role != Role.ADMIN:
        _require_another_admin(user)
    user.role = role
    user.save(update_fields=["role"])
    ended = end_admin_powers(user, record, actor, context) if before == Role.ADMIN else {}
    changes = [Change(field="role", before=before, after=str(role))]
    said = (metadata or {}) | ended
    record(account_event("user.role_changed", user, actor, context, changes=changes, metadata=said))
    return True


def change_account(record: Record, user: User, actor: Actor, context: Context, **changes: Any) -> bool:
    """Change some of CHANGEABLE and record user.updated with before and after, inside the caller's recording().

    Returns whether anything changed; `user` is brought up to date. Where an expiry begins or ends to be over, the sessions
    that are still open end for good. Raises ValidationError (by field), Conflict `last_admin` for an expiry that would leave
    nobody to let others in, and Conflict if somebody took the address meanwhile.
    """
    locked(user)
    before = {field: getattr(user, field) for field in CHANGEABLE}
    was_expired = user.is_expired
    for field, value in changes.items():
        if field not in CHANGEABLE:
            raise InvalidInput(f"{field} of an account cannot be changed.")
        setattr(user, field, value)
    user.name, user.email = user.name.strip(), user.email.strip().lower()
    differing = [field for field in CHANGEABLE if getattr(user, field) != before[field]]
    if not differing:
        return False
    user.full_clean(exclude=["password"])
    if "expires_at" in differing and user.expires_at is not None:
        _require_another_admin(user)
    try:
        with transaction.atomic():
            user.save(update_fields=differing)
    except IntegrityError as error:
        raise _taken(user.email) from error
    if "email" in differing:  # or the old address would still sign in, and get the links
        EmailAddress.objects.filter(user=user).delete()
    said = [
        Change(field=field, before=_plain(before[field]), after=_plain(getattr(user, field))) for field in differing
    ]
    ended = end_all(user) if was_expired != user.is_expired else 0
    metadata = {"sessions_ended": ended} if ended else None
    record(account_event("user.updated", user, actor, context, changes=said, metadata=metadata))
    return True


def deactivate(
    record: Record, user: User, actor: Actor, context: Context, *, metadata: dict[str, Any] | None = None
) -> bool:
    """Switch an account off, end its sessions and links, and record user.deactivated, inside the caller's recording().

    Returns whether it was on. Raises Conflict `last_admin`. API keys that the account made are refused from then on.
    """
    if not locked(user).is_active:
        return False
    _require_another_admin(user)
    user.is_active, user.link_expires_at = False, None
    user.save(update_fields=["is_active", "link_expires_at"])
    said = {"sessions_ended": end_all(user)} | (metadata or {})
    record(account_event("user.deactivated", user, actor, context, metadata=said))
    return True


def reactivate(record: Record, user: User, actor: Actor, context: Context) -> bool:
    """Switch an account on again and record user.reactivated, inside the caller's recording(); returns whether it was off.

    It signs in anew: a session that was just being opened while the account was switched off ends here.
    """
    if locked(user).is_active:
        return False
    user.is_active = True
    user.save(update_fields=["is_active"])
    end_all(user)
    record(account_event("user.reactivated", user, actor, context))
    return True


def issue_link(
    record: Record, user: User, actor: Actor, context: Context, *, purpose: Purpose, sent_by: str = "link"
) -> str:
    """Make a one-time link to set a password and record user.link_issued, inside the caller's recording(); return its URL.

    It replaces every link made before, but for "forgotten", which anybody can ask for: that one joins the link there is, so
    that a stranger cannot make it void. `sent_by` is "email" where it is only sent, "link" where whoever made it sees it. The
    URL must be shown to nobody else and stand in no log. Raises Conflict for an account that could not sign in with it.
    """
    if refusal := refusal_to_link(locked(user)):
        raise Conflict(refusal, code="no_link")
    if purpose != "forgotten" or not has_link(user):
        user.link_expires_at = link_end()
        user.save(update_fields=["link_expires_at"])
    said = {"purpose": purpose, "sent_by": sent_by, "expires_at": _plain(user.link_expires_at)}
    record(account_event("user.link_issued", user, actor, context, metadata=said))
    return password_link(user)


def refusal_to_link(user: User) -> str:
    """Why a link to set a password would not let this account in; "" if it would."""
    if not user.can_sign_in:
        return "This account may not sign in now, so a link would not work."
    if password_refusal()(user):
        return "This account signs in without a password, so it needs no link."
    return ""


def revoke_links(record: Record, user: User, actor: Actor, context: Context) -> bool:
    """End the links that are outstanding and record user.updated, inside the caller's recording(); return whether any was."""
    if not has_link(locked(user)):
        return False
    changes = [Change(field="link_expires_at", before=_plain(user.link_expires_at))]
    end_links(user)
    record(account_event("user.updated", user, actor, context, changes=changes))
    return True


def is_last_admin(user: User) -> bool:
    """Whether the workspace could not be without this account; without a lock, for what a page offers."""
    return last_admin() == user.pk


def last_admin() -> int | None:
    """The primary key of the one admin who can let others in, None where there are several; without a lock."""
    found = list(User.objects.filter(_working_admin()).values_list("pk", flat=True)[:2])
    return found[0] if len(found) == 1 else None


def has_admin_with_password() -> bool:
    """Whether an admin could still get in, for good, without single sign-on; without a lock, for what a page tells."""
    return User.objects.filter(_LASTING_ADMIN & _WITH_PASSWORD).exists()


def require_admin_with_password() -> None:
    """Refuse to close the way in of those without a password where no other admin is left; inside the caller's transaction.

    Locks the admins that the answer depends on until the transaction ends. Raises Conflict `no_password`.
    """
    if not list(User.objects.select_for_update().filter(_LASTING_ADMIN & _WITH_PASSWORD).order_by("pk")):
        raise Conflict(NO_PASSWORD, code="no_password", hint=NO_PASSWORD_HINT)


def locked(user: User) -> User:
    """Lock the account, and every admin it may depend on, until the transaction ends; bring `user` up to date.

    Always in the same order, so that two who do this wait for each other and the second sees what the first has done.
    Raises NotFound.
    """
    rows = User.objects.select_for_update().filter(Q(pk=user.pk) | _working_admin()).order_by("pk")
    now = next((row for row in rows if row.pk == user.pk), None)
    if now is None:
        raise NotFound("There is no such account.")
    for field in User._meta.concrete_fields:
        setattr(user, field.attname, getattr(now, field.attname))
    return user


def account_event(
    action: str,
    user: User,
    actor: Actor,
    context: Context,
    *,
    changes: list[Change] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Event:
    """Something that was done to an account."""
    return Event(
        action=action,
        outcome="success",
        actor=actor,
        targets=[user_target(user)],
        context=context,
        changes=changes or [],
        metadata=metadata or {},
    )


def _working_admin() -> Q:
    """Who can let others in: with a password or, while there is a way in without one, who has come in by it before."""
    if is_way_in_open():
        return _LASTING_ADMIN & (_WITH_PASSWORD | Q(last_login__isnull=False))
    return _LASTING_ADMIN & _WITH_PASSWORD


def _require_another_admin(user: User) -> None:
    """Refuse to lose the last admin who can let others in. The account is locked, and is still saved as it was."""
    if is_last_admin(user):
        raise Conflict(LAST_ADMIN, code="last_admin")


def _taken(email: str) -> Conflict:
    return Conflict(f"There is an account with the address {email} already.", code="address_taken")


def _plain(value: Any) -> Any:
    """A field's value as events tell it."""
    return rfc3339(value) if isinstance(value, datetime) else value
