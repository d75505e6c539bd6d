"""What the provider says of a person, and what follows from it: the verified address and the role.

Pure: claims in, answers out, so that "Test sign-in" and signing in cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from opssentinal.workspace.models import EMAIL_MAX, NAME_MAX
from opssentinal.workspace.text import printable_line, validate_line

Claims = Mapping[str, Any]


class Rule(NamedTuple):
    """Whoever has `value` in the claim gets the role, unless an earlier rule matches."""

    claim: str
    value: str
    role: str


def matching_rule(rules: Iterable[Rule], claims: Claims) -> Rule | None:
    """The first rule that the claims satisfy."""
    return next((rule for rule in rules if rule.value in claim_values(claims, rule.claim)), None)


def claim_values(claims: Claims, name: str) -> set[str]:
    """The values of a claim as text: the members of a list, else the one value.

    `name` is a claim's name or, where there is none of that name, a path of names with dots, such as
    `realm_access.roles`; names of claims may hold dots themselves (`https://example.com/roles`).
    """
    found: Any = claims
    for part in [name] if name in claims else name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    members = found if isinstance(found, list) else [found]
    return {_text(member) for member in members if isinstance(member, str | int | float)}


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def verified_email(claims: Claims) -> str | None:
    """The address in lower case, if it is one and the provider says that it belongs to the person.

    OpenID Connect Core, Section 5.1: `email_verified` is a boolean. Some providers, such as Amazon Cognito, send it as text.
    """
    email, verified = claims.get("email"), claims.get("email_verified")
    if not isinstance(email, str) or len(email) > EMAIL_MAX or not (verified is True or verified == "true"):
        return None
    try:
        validate_email(email)
        validate_line(email)
    except ValidationError:
        return None
    return email.lower()


def is_domain_allowed(email: str, domains: Iterable[str]) -> bool:
    """Whether the address is of one of the domains, exactly; no domains allow all."""
    allowed = {domain.lower() for domain in domains}
    return not allowed or email.rpartition("@")[2].lower() in allowed


def person_name(claims: Claims) -> str:
    """What the person is called, as one printable line; "" if the provider does not say."""
    parts = [claims.get("given_name"), claims.get("family_name")]
    name = claims.get("name") or " ".join(part for part in parts if isinstance(part, str))
    return printable_line(name)[:NAME_MAX].rstrip() if isinstance(name, str) else ""
