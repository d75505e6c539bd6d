"""Accounts come into being here, whether by /setup, by a command or by an admin, and always with their record."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from opssentinal.errors import Conflict
from opssentinal.events.model import Actor, Context, Event
from opssentinal.ledger.recording import recording
from opssentinal.workspace.models import Role, SetupToken, User
from opssentinal.workspace.principals import user_target


def new_account(*, email: str, name: str, role: str, password: str) -> User:
    """Make a valid account with its password hashed, not saved yet, so that hashing stays outside of the transaction.

    Raises Django's ValidationError with all faults by field: email, name, role, password.
    """
    user = User(email=email.strip().lower(), name=name.strip(), role=role)
    faults: dict[str, list[ValidationError]] = {}
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        faults.update(error.error_dict)
    try:
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
        raise Conflict(f"There is an account with the address {user.email} already.") from error
    SetupToken.objects.all().delete()


def create_account(actor: Actor, context: Context, *, email: str, name: str, role: str, password: str) -> User:
    """Create an account and record user.created in one transaction. Raises ValidationError (by field) and Conflict."""
    user = new_account(email=email, name=name, role=role, password=password)
    with recording() as record:
        insert_account(user)
        record(created(user, actor, context))
    return user


def created(user: User, actor: Actor, context: Context) -> Event:
    """The event of a new account."""
    return Event(
        action="user.created",
        outcome="success",
        actor=actor,
        targets=[user_target(user)],
        context=context,
        metadata={"role": str(Role(user.role).value)},
    )
