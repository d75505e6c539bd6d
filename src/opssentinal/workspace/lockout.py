"""The lock-out an admin chose: how many wrong passwords or codes there may be before the next has to wait.

django-allauth counts them, and takes this limit from its setting as a text that is made anew at each attempt (settings), so
that a changed lock-out holds at once, for codes of a second factor as well as for passwords.
"""

from __future__ import annotations

from allauth.core.internal import ratelimit
from django.http import HttpRequest

from opssentinal.workspace.preferences import preferences

# Failures from one address in a minute; an office behind one address has many people.
_PER_ADDRESS_MIN = 10


def account_limit() -> str:
    """The limit on failures for one account, in django-allauth's terms."""
    chosen = preferences()
    return f"{chosen.lockout_attempts}/{chosen.lockout_minutes}m/key"


def address_limit() -> str:
    """The limit on failures from one address."""
    return f"{max(_PER_ADDRESS_MIN, preferences().lockout_attempts)}/m/ip"


def failure_limits() -> str:
    """The limits on failures: for the address they come from, and for the account."""
    return f"{address_limit()},{account_limit()}"


def is_locked_out(request: HttpRequest, key: str) -> bool:
    """Whether the account's own limit is reached."""
    return _is_reached(request, account_limit(), key)


def is_address_refused(request: HttpRequest) -> bool:
    """Whether the limit of the address that the request comes from is reached."""
    return _is_reached(request, address_limit())


def _is_reached(request: HttpRequest, limit: str, key: str | None = None) -> bool:
    usage = ratelimit.consume(
        request, app="allauth.account", action="login_failed", key=key, config={"login_failed": limit}, dry_run=True
    )
    return usage is None
