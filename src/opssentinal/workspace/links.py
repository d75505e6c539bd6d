"""One-time links to set a password: for an invitation, a reset by an admin or by command, and a password forgotten.

The token is Django's: an HMAC over the account's password hash, its address, its last sign-in and the moment until which
the link works. So a link is dead once it was used or the password or address changed some other way, and whoever ends or
replaces that moment ends every link made with it. Nothing that opens an account is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from opssentinal.events.model import Event
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences

Record = Callable[[Event], None]
Purpose = Literal["invitation", "reset", "forgotten"]


class LinkTokens(PasswordResetTokenGenerator):
    """Django's tokens, valid only while the account may sign in and has a link; allauth makes and checks its own with it."""

    key_salt = "opssentinal.workspace.links"

    def make_token(self, user: Any) -> str:
        """Return a token. It joins the link that there is, and begins one where there is none."""
        if not has_link(user):
            user.link_expires_at = link_end()
            with transaction.atomic():
                User.objects.filter(pk=user.pk).update(link_expires_at=user.link_expires_at)
        return str(super().make_token(user))

    def check_token(self, user: Any, token: str | None) -> bool:
        """Whether the token opens this account now."""
        return bool(user and user.can_sign_in and has_link(user) and super().check_token(user, token))

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        return f"{super()._make_hash_value(user, timestamp)}{user.link_expires_at.timestamp():.6f}"


def password_link(user: User) -> str:
    """Return an absolute URL that sets a password once, until `user.link_expires_at`.

    It joins the link that is outstanding, if there is one, and else begins one. Whoever calls this records
    user.link_issued; `issue_link` does both, and replaces what is outstanding.
    """
    path = reverse(
        "account_reset_password_from_key",
        kwargs={"uidb36": user_pk_to_url_str(user), "key": LinkTokens().make_token(user)},
    )
    return f"{preferences().public_url or settings.CONFIG.base_url}{path}"


def has_link(user: User) -> bool:
    """Whether there is a link that can still be used."""
    return user.link_expires_at is not None and user.link_expires_at > timezone.now()


def link_end() -> datetime:
    """Until when a link that is made now works."""
    return timezone.now() + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)


def end_links(user: User) -> None:
    """End every link of an account, inside the caller's transaction."""
    if user.link_expires_at is not None:
        user.link_expires_at = None
        user.save(update_fields=["link_expires_at"])
