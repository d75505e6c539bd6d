"""Setting the provider up, each change in one transaction with its oidc.configured; what is secret is in none of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.urls import reverse
from django.utils import timezone

from opssentinal.errors import Conflict, InvalidInput
from opssentinal.events.model import Actor, Change, Context, Event, Target
from opssentinal.ledger.recording import recording
from opssentinal.sso.claims import Rule
from opssentinal.sso.models import Identity, OIDCProvider
from opssentinal.workspace.accounts import account_event, require_admin_with_password
from opssentinal.workspace.encryption import encrypt
from opssentinal.workspace.password_refusal import Refusal
from opssentinal.workspace.preferences import HIDDEN
from opssentinal.workspace.public_url import public_link
from opssentinal.workspace.seen import require_seen, version_of

FIRST = 1
RULES_MAX = 50
DOMAINS_MAX = 50
# What stands on each of the page's forms.
CONNECTION = ("name", "issuer", "client_id", "scopes")
ACCOUNTS = ("domains", "provisions", "default_role", "rules")
SWITCHES = ("is_enabled", "is_required")
# What the event says of the provider; the secret only whether there is one, and never which.
_TOLD = CONNECTION + ACCOUNTS + SWITCHES


def provider() -> OIDCProvider | None:
    """The provider, once somebody has begun to set it up."""
    return OIDCProvider.objects.filter(pk=FIRST).first()


def enabled_provider() -> OIDCProvider | None:
    """The provider that people can sign in through now."""
    return OIDCProvider.objects.filter(pk=FIRST, is_enabled=True).first()


def is_enabled() -> bool:
    """Whether people can sign in through a provider now, for `workspace.passwordless`."""
    return OIDCProvider.objects.filter(is_enabled=True).exists()


def redirect_uri() -> str:
    """What the provider must know as the client's redirect URI."""
    return public_link(reverse("sso:callback", args=[FIRST]))


def save_connection(
    actor: Actor,
    context: Context,
    *,
    name: str,
    issuer: str,
    client_id: str,
    client_secret: str,
    scopes: str,
    seen: str | None = None,
) -> OIDCProvider:
    """Set issuer, client and scopes; an empty secret keeps the one there is. Whatever changes but the name needs a new
    test, and switches single sign-on off until then.

    The caller has made sure of the issuer (`discovery.discover`). Raises InvalidInput where a secret is missing, and Conflict
    `no_password` where it would be off and no admin could come in, or where it is not any more as it was `seen`.
    """
    changes = {"name": name, "issuer": issuer, "client_id": client_id, "scopes": scopes}
    if client_secret:
        changes["client_secret"] = encrypt(client_secret)
    return _change(actor, context, seen, CONNECTION, **changes)


def save_accounts(
    actor: Actor,
    context: Context,
    *,
    domains: list[str],
    provisions: bool,
    default_role: str,
    rules: Iterable[Rule],
    seen: str | None = None,
) -> OIDCProvider:
    """Set who may come in, and with which role. Raises InvalidInput, and Conflict where it is not any more as it was `seen`."""
    listed = [rule._asdict() for rule in rules]
    if len(listed) > RULES_MAX or len(domains) > DOMAINS_MAX:
        raise InvalidInput(f"There may be at most {RULES_MAX} rules and {DOMAINS_MAX} domains.")
    if provisions and not default_role and not listed:
        raise InvalidInput("Nobody would get a role: choose a default role, or enter rules.", path="default_role")
    return _change(
        actor, context, seen, ACCOUNTS, domains=domains, provisions=provisions, default_role=default_role, rules=listed
    )


def switch(
    actor: Actor, context: Context, *, is_enabled: bool, is_required: bool, seen: str | None = None
) -> OIDCProvider:
    """Switch single sign-on, and whether it is the only way in for others than admins.

    Raises Conflict `not_tested` unless the connection has passed a test as it is, and `no_password` for switching it off
    where no admin could come in any more, or where it is not any more as it was `seen`.
    """
    return _change(actor, context, seen, SWITCHES, is_enabled=is_enabled, is_required=is_required)


def record_test(actor: Actor, context: Context, fingerprint: str, said: dict[str, Any], *, passed: bool) -> None:
    """Note the outcome of a test of the connection with this fingerprint, and record oidc.tested, in one transaction.

    A test passes for the connection it was made with: one that was changed in the meantime stays untested.
    """
    with recording() as record:
        row = _locked()
        if passed:
            row.tested, row.tested_at, row.tested_by = fingerprint, timezone.now(), (actor.name or actor.email or "")
            row.save(update_fields=["tested", "tested_at", "tested_by"])
        record(
            Event(
                action="oidc.tested",
                outcome="success" if passed else "failure",
                actor=actor,
                targets=[target(row)],
                context=context,
                metadata=said,
            )
        )


def unbind(identity: Identity, actor: Actor, context: Context) -> None:
    """Forget which subject an account is, so that its verified address binds it anew, and record user.updated."""
    with recording() as record:
        deleted, _ = Identity.objects.filter(pk=identity.pk).delete()
        if deleted:
            record(account_event("user.updated", identity.user, actor, context, changes=[binding(identity, None)]))


def binding(before: Identity | None, after: Identity | None) -> Change:
    """The change of an account's subject, as events tell it."""
    return Change(field="single_sign_on", before=before and str(before), after=after and str(after))


def target(row: OIDCProvider) -> Target:
    """The provider as a target of events."""
    return Target(type="oidc_provider", id=row.event_id, name=row.name or None)


def password_rule() -> Refusal:
    """Why a password does not count, for `workspace.password_refusal`: while only single sign-on is allowed, admins' do."""
    is_required = OIDCProvider.objects.filter(is_enabled=True, is_required=True).exists()
    return lambda user: "sso_required" if is_required and not user.is_admin else None


def version(row: OIDCProvider, fields: Iterable[str]) -> str:
    """The version of some of the provider's settings, as a page shows them."""
    return version_of(_shown(row, fields))


def _change(actor: Actor, context: Context, seen: str | None, fields: Iterable[str], **changes: Any) -> OIDCProvider:
    with recording() as record:
        row = _locked()
        require_seen(seen, _shown(row, fields))
        before, secret_before = _told(row), row.client_secret
        for name, value in changes.items():
            setattr(row, name, value)
        if not row.client_secret and row.issuer:
            raise InvalidInput("Enter the client secret.", path="client_secret")
        if row.is_enabled and not row.is_tested:
            if changes.get("is_enabled"):
                raise Conflict(
                    "Test the sign-in first: single sign-on can be switched on once it has worked.", code="not_tested"
                )
            row.is_enabled = False
        after = _told(row)
        if before["enabled"] and not after["enabled"]:
            require_admin_with_password()
        differing = [Change(field=f, before=before[f], after=after[f]) for f in after if before[f] != after[f]]
        if row.client_secret != secret_before:
            differing.append(Change(field="client_secret", before=HIDDEN if secret_before else None, after=HIDDEN))
        if differing:
            row.save()
            record(
                Event(
                    action="oidc.configured",
                    outcome="success",
                    actor=actor,
                    targets=[target(row)],
                    context=context,
                    changes=differing,
                )
            )
    return row


def _shown(row: OIDCProvider, fields: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in fields}


def _told(row: OIDCProvider) -> dict[str, Any]:
    """What events tell of the provider, by the field's name there."""
    return {name.removeprefix("is_"): getattr(row, name) for name in _TOLD}


def _locked() -> OIDCProvider:
    OIDCProvider.objects.get_or_create(pk=FIRST)
    return OIDCProvider.objects.select_for_update().get(pk=FIRST)
