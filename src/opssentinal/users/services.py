"""What admins do to accounts, each in one transaction with the events that tell of it; e-mail goes out afterwards.

`workspace.accounts` decides what may be done to an account. Here that meets API keys, e-mail and the person who does it:
some things nobody does to their own account, so that whoever takes over a browser cannot make themselves at home. And whoever
acts is still an active admin when it happens: of two who remove each other at once, the first does.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from opssentinal.apikeys.services import revoke_keys_made_by
from opssentinal.errors import Conflict, InvalidInput, Unavailable
from opssentinal.events.model import Actor, Context
from opssentinal.ledger.recording import recording
from opssentinal.workspace import accounts, mail, second_factor
from opssentinal.workspace.links import Purpose
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences
from opssentinal.workspace.principals import user_actor
from opssentinal.workspace.seen import require_seen

OWN_DEACTIVATION = "This is your own account. Another admin can deactivate it."
OWN_LINK = "This is your own account. Change your password under Profile."
NO_ADMIN = "Your account is no active admin any more, so nothing was changed."
OWN_SECOND_FACTOR = "This is your own account. Change your second factor under Profile."


class IssuedLink(NamedTuple):
    """A link just made. `url` exists here only: it is shown once and stored nowhere; "" where a password is of no use.

    `is_mailed` tells whether a mail server took it, `mail_failure` why it did not; neither where none is set up.
    """

    user: User
    url: str
    purpose: Purpose
    is_mailed: bool = False
    mail_failure: str = ""


def invite(
    actor: Actor, context: Context, *, email: str, name: str, role: str, **limits: datetime | None
) -> IssuedLink:
    """Create an account without a password and a link to set one; record user.created and user.link_issued.

    No link is made for who signs in without a password, as with single sign-on. `limits` are expires_at, log_from and log_until. Raises ValidationError (by field) and Conflict.
    """
    user = accounts.new_account(email=email, name=name, role=role, password=None, **limits)
    needs_link = not accounts.refusal_to_link(user)
    by_mail = needs_link and mail.is_configured()
    with recording() as record:
        accounts.insert_account(user)
        record(accounts.created(user, actor, context, invited=True))
        url = _link(record, user, actor, context, "invitation", by_mail) if needs_link else ""
    issued = IssuedLink(user, url, "invitation")
    return _mailed(issued, actor) if by_mail else issued


def issue_link(user: User, actor: Actor, context: Context, *, by_mail: bool = True) -> IssuedLink:
    """Make a link to set a password, instead of every one made before; record user.link_issued.

    An invitation for who has never been in, else a reset. It is sent as well if there is a mail server and `by_mail`.
    Raises Conflict for one's own account and for one that may not sign in.
    """
    _refuse_own(user, actor, OWN_LINK)
    by_mail = by_mail and mail.is_configured()
    with recording() as record:
        _lock(user, actor)
        purpose: Purpose = "reset" if user.has_usable_password() or user.last_login else "invitation"
        url = _link(record, user, actor, context, purpose, by_mail)
    issued = IssuedLink(user, url, purpose)
    return _mailed(issued, actor) if by_mail else issued


def revoke_links(user: User, actor: Actor, context: Context) -> bool:
    """End the link that is outstanding, and record it; return whether there was one."""
    with recording() as record:
        _lock(user, actor)
        return accounts.revoke_links(record, user, actor, context)


def editable(user: User) -> dict[str, Any]:
    """What `update` can change, as it is."""
    return {name: getattr(user, name) for name in ("role", *accounts.CHANGEABLE)}


def update(
    user: User, actor: Actor, context: Context, *, role: str | None = None, seen: str | None = None, **changes: Any
) -> bool:
    """Change role and fields of an account in one transaction, each with its event; return whether anything changed.

    Raises ValidationError (by field) and Conflict: `last_admin`, or where it is not any more as it was `seen`.
    """
    with recording() as record:
        require_seen(seen, editable(_lock(user, actor)))
        is_other_role = role is not None and accounts.change_role(record, user, role, actor, context)
        return accounts.change_account(record, user, actor, context, **changes) or is_other_role


def deactivate(user: User, actor: Actor, context: Context) -> bool:
    """Switch an account off, end its sessions and links and revoke the API keys it made; return whether it was on.

    Records api_key.revoked for each key and user.deactivated with how many of each. Raises Conflict for one's own account
    and for the last admin.
    """
    _refuse_own(user, actor, OWN_DEACTIVATION)
    with recording() as record:
        if not _lock(user, actor).is_active:
            return False
        keys = revoke_keys_made_by(user, record, actor, context)
        return accounts.deactivate(record, user, actor, context, metadata={"api_keys_revoked": keys})


def reactivate(user: User, actor: Actor, context: Context) -> bool:
    """Switch an account on again; sessions, links and API keys it had stay ended. Return whether it was off."""
    with recording() as record:
        _lock(user, actor)
        return accounts.reactivate(record, user, actor, context)


def reset_second_factor(user: User, actor: Actor, context: Context) -> int:
    """Take away every second factor, for who has lost theirs; return how many. Raises Conflict for one's own account."""
    _refuse_own(user, actor, OWN_SECOND_FACTOR)
    with recording() as record:
        _lock(user, actor)
        return second_factor.reset(record, user, actor, context)


def refusal_to_deactivate(user: User, actor: Actor) -> str:
    """Why this person cannot deactivate this account; "" if they can."""
    if user_actor(user).id == actor.id:
        return OWN_DEACTIVATION
    return accounts.LAST_ADMIN if accounts.is_last_admin(user) else ""


def refusal_to_link(user: User, actor: Actor) -> str:
    """Why this person cannot make a link for this account; "" if they can."""
    return OWN_LINK if user_actor(user).id == actor.id else accounts.refusal_to_link(user)


def _link(record: accounts.Record, user: User, actor: Actor, context: Context, purpose: Purpose, by_mail: bool) -> str:
    sent_by = "link and email" if by_mail else "link"  # whoever made it sees it in any case
    return accounts.issue_link(record, user, actor, context, purpose=purpose, sent_by=sent_by)


def _lock(user: User, actor: Actor) -> User:
    """`accounts.locked`; then refuse somebody who is no active admin any more. The server's own commands need be none.

    Whoever takes an admin's role or account away holds the same locks, so what is read here is what holds.
    """
    accounts.locked(user)
    if actor.type == "user":
        acting = User.objects.filter(pk=actor.id.removeprefix("user_")).first()
        if acting is None or not (acting.is_admin and acting.can_sign_in):
            raise Conflict(NO_ADMIN, code="no_admin")
    return user


def _refuse_own(user: User, actor: Actor, reason: str) -> None:
    if user_actor(user).id == actor.id:
        raise Conflict(reason, code="own_account")


def _mailed(issued: IssuedLink, actor: Actor) -> IssuedLink:
    """Send the link to its account. One that cannot be sent can still be handed over, so a failure is only told."""
    workspace, user = preferences().workspace_name, issued.user
    by = actor.name or actor.email or actor.id
    until = f"{user.link_expires_at:%Y-%m-%d %H:%M} UTC"
    if issued.purpose == "invitation":
        subject, why = f"Your account on {workspace}", f"{by} has invited you to {workspace}."
    else:
        subject, why = f"Set a new password on {workspace}", f"{by} lets you set a new password on {workspace}."
    text = (
        f"{why}\n\nSet your password with this link. It works once, until {until}:\n\n{issued.url}\n\n"
        f"Then sign in as {user.email}. If you did not expect this, do nothing and tell your admin.\n"
    )
    try:
        mail.send_mail(user.email, subject, text)
    except (Unavailable, InvalidInput) as error:
        return issued._replace(mail_failure=error.detail)
    return issued._replace(is_mailed=True)
