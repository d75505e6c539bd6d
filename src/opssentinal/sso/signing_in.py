"""From claims to an account: who it is, whether they may come in, with which role; and doing so, all in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from allauth.account.internal.flows.login import record_authentication
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import HttpRequest
from django.utils import timezone

from opssentinal.errors import Conflict
from opssentinal.events.model import Actor, Context, Event
from opssentinal.ledger.recording import recording
from opssentinal.sso.claims import Claims, Rule, is_domain_allowed, matching_rule, person_name, verified_email
from opssentinal.sso.configuration import binding
from opssentinal.sso.models import Identity, OIDCProvider
from opssentinal.sso.refusal import SignInRefused
from opssentinal.workspace.accounts import account_event, change_role, created, insert_account, new_account
from opssentinal.workspace.adapters import AccountAdapter
from opssentinal.workspace.letting_in import let_in
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import anonymous_actor, request_context, user_actor
from opssentinal.workspace.sign_in import SINGLE_SIGN_ON

Record = Callable[[Event], None]


class Admission(NamedTuple):
    """What signing in with some claims comes to.

    `user` is None for an account that is to be created. `role` is what the account will have, None to leave it; `rule` is the
    one that says so. `identity` is None for a subject that is to be bound.
    """

    user: User | None
    identity: Identity | None
    email: str | None
    role: str | None
    rule: Rule | None


def admission(row: OIDCProvider, claims: Claims) -> Admission:
    """Decide about the claims by what is configured and which accounts there are. Raises SignInRefused."""
    email = verified_email(claims)
    identity = Identity.objects.select_related("user").filter(issuer=row.issuer, subject=claims["sub"]).first()
    user = identity.user if identity else User.objects.filter(email=email).first() if email else None
    try:
        if email is None and (identity is None or row.domains):
            raise SignInRefused(
                "email_unverified", "The provider gives no e-mail address, or does not call it verified."
            )
        if email is not None and not is_domain_allowed(email, row.domains):
            raise SignInRefused("domain_not_allowed", f"The domain of {email} is not allowed.")
        if user is None and not row.provisions:
            raise SignInRefused("not_provisioned", "There is no such account, and accounts are not created on sign-in.")
        if user is not None:
            _check_account(row, user, identity)
        role, rule = _role(row, claims, is_new=user is None)
    except SignInRefused as refused:
        refused.user, refused.email = user, email
        raise
    return Admission(user, identity, email, role, rule)


def sign_in(request: HttpRequest, row: OIDCProvider, claims: Claims) -> None:
    """Sign the person in: the account, its role, the session and login.success, all or none. Raises SignInRefused.

    `row` is the provider as it was before its answers were waited for: what holds is what it is now.
    """
    try:
        _sign_in(request, row, claims)
    except Conflict:
        # The same person was quicker in another tab; what was to be created is there now.
        _sign_in(request, row, claims)


def record_failure(request: HttpRequest, row: OIDCProvider, refused: SignInRefused, reason: str = "") -> None:
    """Record login.failure with the refusal's reason, or another."""
    actor = user_actor(refused.user) if refused.user else anonymous_actor(refused.email)
    with recording() as record:
        record(
            Event(
                action="login.failure",
                outcome="failure",
                actor=actor,
                context=request_context(request),
                metadata=_said(row) | {"reason": reason or refused.reason},
            )
        )


def _check_account(row: OIDCProvider, user: User, identity: Identity | None) -> None:
    if not user.is_active:
        raise SignInRefused("inactive", f"The account {user.email} is switched off.")
    if user.is_expired:
        raise SignInRefused("expired", f"The time of the account {user.email} is over.")
    if identity is None and Identity.objects.filter(issuer=row.issuer, user=user).exists():
        raise SignInRefused(
            "subject_mismatch",
            f"The account {user.email} belongs to another subject of this provider. An admin can unlink it.",
        )


def _role(row: OIDCProvider, claims: Claims, *, is_new: bool) -> tuple[str | None, Rule | None]:
    """Where there are rules, they decide at every sign-in: who leaves a group loses its role."""
    rules = row.role_rules
    if not rules and not is_new:
        return None, None
    rule = matching_rule(rules, claims)
    role = rule.role if rule else row.default_role
    if not role:
        raise SignInRefused("no_role", "No rule matches the claims, and there is no default role.")
    return role, rule


def _sign_in(request: HttpRequest, row: OIDCProvider, claims: Claims) -> None:
    adapter, context, by = AccountAdapter(request), request_context(request), _provider_actor(row)
    with adapter.signing_in(request) as record:
        row = _as_it_is_now(row)
        chosen = admission(row, claims)
        user = chosen.user or _created(record, row, claims, chosen, by, context)
        if chosen.identity is None:
            _bind(record, row, claims, user, by, context, is_new=chosen.user is None)
        else:
            Identity.objects.filter(pk=chosen.identity.pk).update(used_at=timezone.now())
        kept = _with_role(record, row, user, chosen, by, context)
        record_authentication(request, user, method=SINGLE_SIGN_ON, provider=row.name)
        adapter.open_session(record, request, user, **_said(row), **kept)


def _as_it_is_now(row: OIDCProvider) -> OIDCProvider:
    """The provider, locked until the transaction ends, with who may come in. Raises SignInRefused where it is another now."""
    now = OIDCProvider.objects.select_for_update().filter(pk=row.pk, is_enabled=True).first()
    if now is None:
        raise SignInRefused("switched_off")
    if now.fingerprint != row.fingerprint:
        raise SignInRefused("configuration_changed", "The connection was changed while the sign-in was under way.")
    return now


def _created(record: Record, row: OIDCProvider, claims: Claims, chosen: Admission, by: Actor, context: Context) -> User:
    try:
        user = new_account(email=str(chosen.email), name=person_name(claims), role=str(chosen.role), password=None)
    except ValidationError as error:  # the address was taken since `admission` looked
        raise Conflict("; ".join(error.messages)) from error
    insert_account(user)
    record(created(user, by, context, **_said(row), subject=claims["sub"]))
    return user


def _bind(
    record: Record, row: OIDCProvider, claims: Claims, user: User, by: Actor, context: Context, *, is_new: bool
) -> None:
    try:
        identity = Identity.objects.create(issuer=row.issuer, subject=claims["sub"], user=user)
    except IntegrityError as error:
        raise Conflict("The subject or the account was bound in the meantime.") from error
    let_in.send(User, user=user)
    if not is_new:  # of a new account, user.created tells it
        record(account_event("user.updated", user, by, context, changes=[binding(None, identity)], metadata=_said(row)))


def _with_role(
    record: Record, row: OIDCProvider, user: User, chosen: Admission, by: Actor, context: Context
) -> dict[str, Any]:
    """Give the account the role that the claims ask for; return what login.success has to say about it."""
    if chosen.role is None:
        return {}
    reason = {"claim": chosen.rule.claim, "value": chosen.rule.value} if chosen.rule else {}
    try:
        change_role(record, user, chosen.role, by, context, metadata=_said(row) | reason)
    except Conflict as error:
        if error.code != "last_admin":
            raise
        # No claim may leave the workspace without an admin.
        return {"role_kept": "last_admin", "role_claimed": chosen.role}
    return {}


def _provider_actor(row: OIDCProvider) -> Actor:
    return Actor(type="oidc_provider", id=row.event_id, name=row.name or None)


def _said(row: OIDCProvider) -> dict[str, Any]:
    return {"method": SINGLE_SIGN_ON, "provider": row.name}
