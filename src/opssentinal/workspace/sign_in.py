"""What the log tells of signing in: the method, the second factor, and why somebody was refused."""

from __future__ import annotations

from typing import Any

from allauth.account.authentication import get_authentication_records
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest

from opssentinal.events.model import Actor, Event
from opssentinal.ledger.recording import recording
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import anonymous_actor, request_context, user_actor

SECOND_FACTOR = "mfa"  # as django-allauth calls it
SINGLE_SIGN_ON = "sso"


def proof_of(request: HttpRequest, user: User) -> dict[str, str]:
    """How this browser has proved who it is, for login.success: `method`, and `second_factor` where there was one.

    The last proof counts: whoever gave a password and then took a passkey instead has signed in with the passkey.
    """
    records = get_authentication_records(request, user)
    first = [record for record in records if record["method"] != SECOND_FACTOR]
    method = str(first[-1]["method"]) if first else "password"
    if not records or records[-1]["method"] != SECOND_FACTOR:
        return {"method": method}
    if records[-1].get("passwordless"):
        return {"method": "passkey"}
    return {"method": method, "second_factor": str(records[-1]["type"])}


def is_vouched_for(request: HttpRequest, user: User) -> bool:
    """Whether this session came through single sign-on: second factors are then the provider's business."""
    return any(record["method"] == SINGLE_SIGN_ON for record in get_authentication_records(request, user))


def record_failure(request: HttpRequest, user: User | None, method: str, reason: str, typed: str = "") -> None:
    """Record login.failure. The actor is the account if there is one, else the address typed, else nobody."""
    metadata: dict[str, Any] = {"method": method, "reason": reason}
    if request.user.is_authenticated:
        metadata["reauthentication"] = True  # somebody who is signed in was asked to prove it once more
    with recording() as record:
        record(
            Event(
                action="login.failure",
                outcome="failure",
                actor=user_actor(user) if user else typed_actor(typed),
                context=request_context(request),
                metadata=metadata,
            )
        )


def typed_actor(typed: str) -> Actor:
    """Somebody unknown: the address typed if it is one, and never other text, since people type passwords there."""
    try:
        validate_email(typed)
    except ValidationError:
        return anonymous_actor()
    return anonymous_actor(typed)
