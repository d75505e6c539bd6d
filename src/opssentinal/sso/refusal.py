"""Why a sign-in through the provider ends: the reason that the log tells, and the words for the person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opssentinal.errors import Forbidden

if TYPE_CHECKING:
    from opssentinal.workspace.models import User

_AGAIN = "The sign-in took too long, or it was not begun in this browser. Please try again."
_PROVIDER = "The provider did not answer as expected. Please try again; if it goes on, tell an admin of this workspace."
# What is known of the account is for the log, as with passwords.
_MAY_NOT = "This account may not sign in here. Ask an admin of this workspace."

# reason → what the person reads. The test of an admin reads the detail as well.
REASONS = {
    "state_mismatch": _AGAIN,
    "configuration_changed": _AGAIN,
    "cancelled": "The provider says that the sign-in was cancelled or denied.",
    "issuer_mismatch": _PROVIDER,
    "nonce_mismatch": _PROVIDER,
    "token_invalid": _PROVIDER,
    "token_expired": _PROVIDER,
    "provider_error": _PROVIDER,
    "busy": "The provider is slow to answer, and others are waiting for it already. Please try again in a moment.",
    "switched_off": "Single sign-on is switched off.",
    "email_unverified": _MAY_NOT,
    "domain_not_allowed": _MAY_NOT,
    "subject_mismatch": _MAY_NOT,
    "not_provisioned": _MAY_NOT,
    "no_role": _MAY_NOT,
    "inactive": _MAY_NOT,
    "expired": _MAY_NOT,
}


class SignInRefused(Forbidden):
    """A sign-in through the provider that must not go on. `reason` is a key of REASONS; `detail` is for admins only.

    `user` is the account if there is one, else `email` the verified address, where the provider has proved that much.
    """

    def __init__(self, reason: str, detail: str = "", *, user: User | None = None, email: str | None = None) -> None:
        super().__init__(detail or REASONS[reason], code=reason)
        self.reason = reason
        self.user = user
        self.email = email
