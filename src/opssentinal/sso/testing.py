"""What "Test sign-in" finds: shown to the admin who made it, noted for the switch, recorded as oidc.tested."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import HttpRequest

from opssentinal.sso import configuration
from opssentinal.sso.claims import Claims
from opssentinal.sso.models import OIDCProvider
from opssentinal.sso.refusal import SignInRefused
from opssentinal.sso.signing_in import Admission, admission
from opssentinal.workspace.principals import request_actor, request_context

# Where the session keeps the last finding, until the next one or the end of the session.
TEST_RESULT = "sso_test_result"
_CLAIMS_MAX = 100
_MEMBERS_MAX = 100
_TEXT_MAX = 1_000


class Finding(NamedTuple):
    """`failure` is why the round trip did not work, None where it did; `refusal` why such a sign-in would be refused."""

    failure: SignInRefused | None
    claims: Claims
    admission: Admission | None = None
    refusal: SignInRefused | None = None

    @classmethod
    def failed(cls, refused: SignInRefused) -> Finding:
        """A test that came to no proved claims."""
        return cls(refused, {})

    @classmethod
    def of(cls, row: OIDCProvider, claims: Claims) -> Finding:
        """A test that worked: what signing in with these claims would come to, without doing it."""
        try:
            return cls(None, claims, admission=admission(row, claims))
        except SignInRefused as refused:
            return cls(None, claims, refusal=refused)


def record_result(request: HttpRequest, row: OIDCProvider, fingerprint: str, found: Finding) -> None:
    """Note and record the outcome, and keep what the next page shows. Claims stay out of the log: they are a person's."""
    said: dict[str, Any] = {"reason": found.failure.reason} if found.failure else {"role": _role(found)}
    if found.refusal:
        said = {"refusal": found.refusal.reason}
    configuration.record_test(
        request_actor(request), request_context(request), fingerprint, said, passed=found.failure is None
    )
    request.session[TEST_RESULT] = {
        "failure": found.failure and found.failure.detail,
        "refusal": found.refusal and found.refusal.detail,
        "claims": _shown(found.claims),
        "email": found.admission and found.admission.email,
        "account": found.admission and found.admission.user and str(found.admission.user),
        "role": _role(found),
        "rule": found.admission and found.admission.rule,
    }


def _role(found: Finding) -> str | None:
    """The role that the account would have afterwards."""
    if found.admission is None:
        return None
    role = found.admission.role
    return str(role if role is not None or found.admission.user is None else found.admission.user.role)


def _shown(value: Any, depth: int = 0) -> Any:
    """The claims cut to what a page can show: a provider may put hundreds of groups there."""
    if isinstance(value, dict):
        return (
            {str(k)[:_TEXT_MAX]: _shown(v, depth + 1) for k, v in list(value.items())[:_CLAIMS_MAX]}
            if depth < 5
            else "…"
        )
    if isinstance(value, list):
        members = [_shown(member, depth + 1) for member in value[:_MEMBERS_MAX]] if depth < 5 else []
        return members + ["…"] if len(value) > len(members) else members
    return value[:_TEXT_MAX] if isinstance(value, str) else value
