"""The first admin: made on /setup with a one-time token that only somebody at the server's console knows."""

from __future__ import annotations

import secrets

from opssentinal.errors import Forbidden
from opssentinal.events.model import Context
from opssentinal.ledger.recording import recording
from opssentinal.workspace.accounts import created, insert_account, new_account
from opssentinal.workspace.models import Role, SetupToken, User
from opssentinal.workspace.principals import user_actor


def is_set_up() -> bool:
    """Whether there is an account, which closes /setup for ever: accounts are never deleted."""
    return User.objects.exists()


def setup_token() -> str | None:
    """The token that opens /setup, made on first call and the same until it is used; None once there is an account.

    Kept in the clear in the database, so that every start and every server prints the same one; whoever can read it there
    could write an account there too.
    """
    if is_set_up():
        return None
    row, _ = SetupToken.objects.get_or_create(pk=1, defaults={"token": secrets.token_urlsafe(24)})
    return row.token


def is_setup_token(token: str) -> bool:
    """Whether this is the token that opens /setup now."""
    row = SetupToken.objects.filter(pk=1).first()
    return row is not None and secrets.compare_digest(row.token.encode(), token.encode())


def create_first_admin(context: Context, *, token: str, email: str, name: str, password: str) -> User:
    """Create the first account, an admin, and record user.created; the account itself is the actor.

    Of two at once one wins: deleting the token's row is the decision, and only one transaction can. Raises Forbidden for
    the loser and for a wrong token, ValidationError (by field) for bad input.
    """
    user = new_account(email=email, name=name, role=Role.ADMIN, password=password)
    with recording() as record:
        deleted, _ = SetupToken.objects.filter(pk=1, token=token).delete()
        if not deleted or is_set_up():
            raise Forbidden("The first admin exists, or the setup token is not the right one.", code="setup_closed")
        insert_account(user)
        record(created(user, user_actor(user), context))
    return user
