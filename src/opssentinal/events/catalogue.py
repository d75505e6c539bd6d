"""The catalogue of event types: the one source of the page's groups, the sentences, the API's list and the docs table.

Callers may send any other well-formed action too; these are the ones the product knows by name. A declared type says what
it means, which group it stands in, whether it is sensitive, and how to say it in a sentence.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Category = Literal["authentication", "user_management", "configuration", "data_access"]

CATEGORIES: dict[Category, str] = {
    "authentication": "Authentication",
    "user_management": "User Management",
    "configuration": "Configuration",
    "data_access": "Data Access",
}


class EventType(Struct, frozen=True, kw_only=True):
    """One declared action. `sentence` is filled with {actor}, {target} and {changes}; `example` is a submittable event."""

    action: str
    category: Category
    title: str
    description: str
    sentence: str
    sensitive: bool = False
    example: dict[str, object]


_ALICE = {"type": "user", "id": "usr_7", "name": "Alice", "email": "alice@example.com"}
_BOB = {"type": "user", "id": "usr_9", "name": "Bob", "email": "bob@example.com"}
_FROM = {"ip": "203.0.113.9", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


def _example(
    action: str, target: dict[str, str] | None = None, outcome: str = "success", **more: object
) -> dict[str, object]:
    event: dict[str, object] = {"action": action, "outcome": outcome, "actor": _ALICE, "context": _FROM}
    if target is not None:
        event["targets"] = [target]
    return event | more


_TYPES = (
    EventType(
        action="login.success",
        category="authentication",
        title="Signed in",
        description="Somebody signed in.",
        sentence="{actor} signed in",
        example=_example("login.success", metadata={"method": "password"}),
    ),
    EventType(
        action="login.failure",
        category="authentication",
        title="Sign-in failed",
        description="An attempt to sign in was refused. The actor is the account if there is one, else the address typed.",
        sentence="{actor} failed to sign in",
        example=_example(
            "login.failure", outcome="failure", metadata={"method": "password", "reason": "wrong_password"}
        ),
    ),
    EventType(
        action="logout",
        category="authentication",
        title="Signed out",
        description="Somebody signed out.",
        sentence="{actor} signed out",
        example=_example("logout"),
    ),
    EventType(
        action="session.revoked",
        category="authentication",
        title="Session revoked",
        description="A session was ended by its owner from elsewhere, or by an admin.",
        sentence="{actor} revoked a session of {target}",
        example=_example("session.revoked", _BOB, metadata={"session_id": "6f1e…"}),
    ),
    EventType(
        action="user.created",
        category="user_management",
        title="User created",
        description="An account was created.",
        sentence="{actor} created the user {target}",
        sensitive=True,
        example=_example("user.created", _BOB, metadata={"role": "member"}),
    ),
    EventType(
        action="user.updated",
        category="user_management",
        title="User updated",
        description="A profile field of an account changed, or its password.",
        sentence="{actor} updated {changes} of {target}",
        example=_example("user.updated", _BOB, changes=[{"field": "name", "before": "Bob", "after": "Robert"}]),
    ),
    EventType(
        action="user.deactivated",
        category="user_management",
        title="User deactivated",
        description="An account was switched off; its sessions and API keys ended.",
        sentence="{actor} deactivated {target}",
        sensitive=True,
        example=_example("user.deactivated", _BOB),
    ),
    EventType(
        action="user.role_changed",
        category="user_management",
        title="Role changed",
        description="An account was given another role.",
        sentence="{actor} changed the role of {target}{changes_from_to}",
        sensitive=True,
        example=_example("user.role_changed", _BOB, changes=[{"field": "role", "before": "member", "after": "admin"}]),
    ),
    EventType(
        action="settings.updated",
        category="configuration",
        title="Settings updated",
        description="A setting of the workspace changed.",
        sentence="{actor} updated {changes} in {target}",
        sensitive=True,
        example=_example(
            "settings.updated",
            {"type": "settings", "id": "data_retention", "name": "Data Retention"},
            changes=[{"field": "audit_retention_days", "before": 365, "after": 730}],
        ),
    ),
    EventType(
        action="integration.created",
        category="configuration",
        title="Integration created",
        description="A destination or service was connected.",
        sentence="{actor} created the integration {target}",
        sensitive=True,
        example=_example("integration.created", {"type": "integration", "id": "int_3", "name": "PagerDuty"}),
    ),
    EventType(
        action="integration.deleted",
        category="configuration",
        title="Integration deleted",
        description="A destination or service was disconnected.",
        sentence="{actor} deleted the integration {target}",
        sensitive=True,
        example=_example("integration.deleted", {"type": "integration", "id": "int_3", "name": "PagerDuty"}),
    ),
    EventType(
        action="oidc.configured",
        category="configuration",
        title="Single sign-on configured",
        description="The OpenID Connect provider was set up, changed or switched.",
        sentence="{actor} configured single sign-on with {target}",
        sensitive=True,
        example=_example("oidc.configured", {"type": "oidc_provider", "id": "oidc_1", "name": "Keycloak"}),
    ),
    EventType(
        action="incident.viewed",
        category="data_access",
        title="Incident viewed",
        description="Somebody opened an incident.",
        sentence="{actor} viewed {target}",
        example=_example("incident.viewed", {"type": "incident", "id": "incident_42", "name": "Checkout is slow"}),
    ),
    EventType(
        action="export.downloaded",
        category="data_access",
        title="Export created or downloaded",
        description="The log, or a part of it, left the product as a file: once when the file is made (stage created), and "
        "once each time it is fetched (stage fetched).",
        sentence="{actor} exported {target}",
        sensitive=True,
        example=_example(
            "export.downloaded",
            {"type": "export", "id": "exp_12", "name": "audit-log-2026-11-22.csv"},
            metadata={
                "stage": "fetched",
                "format": "csv",
                "rows": 1204,
                "sha256": "9f86d0…",
                "query": "outcome:failure",
            },
        ),
    ),
    EventType(
        action="api_key.created",
        category="data_access",
        title="API key created",
        description="A key that lets a program write or read events was issued.",
        sentence="{actor} created the API key {target}",
        sensitive=True,
        example=_example(
            "api_key.created",
            {"type": "api_key", "id": "k4fQ2mXw", "name": "billing"},
            metadata={"scopes": ["events:write"], "source": "billing"},
        ),
    ),
    EventType(
        action="api_key.revoked",
        category="data_access",
        title="API key revoked",
        description="A key was withdrawn; it stops working within two seconds.",
        sentence="{actor} revoked the API key {target}",
        sensitive=True,
        example=_example("api_key.revoked", {"type": "api_key", "id": "k4fQ2mXw", "name": "billing"}),
    ),
    EventType(
        action="access.denied",
        category="data_access",
        title="Access denied",
        description="Somebody asked for a page or an operation they have no right to.",
        sentence="{actor} was denied access to {target}",
        example=_example("access.denied", {"type": "page", "id": "audit_log", "name": "Audit Logs"}, outcome="denied"),
    ),
    EventType(
        action="audit_log.viewed",
        category="data_access",
        title="Audit log read on the server",
        description="Somebody with a shell on the server read events with a command; one for each person, command and ten "
        "minutes at most, without what was searched for.",
        sentence="{actor} read the audit log",
        example=_example(
            "audit_log.viewed", {"type": "audit_log", "id": "audit_log", "name": "Audit log"}, metadata={"view": "tail"}
        ),
    ),
    EventType(
        action="audit_log.verified",
        category="data_access",
        title="Audit log verified",
        description="Every hash of the log was derived again and compared (fsck); a failure means that something differs.",
        sentence="{actor} verified the audit log",
        example=_example(
            "audit_log.verified",
            {"type": "audit_log", "id": "audit_log", "name": "Audit log"},
            metadata={"size": 2900, "root": "9f86d0…", "problems": 0},
        ),
    ),
    EventType(
        action="events.imported",
        category="data_access",
        title="Events imported",
        description="Events were read from files into the log.",
        sentence="{actor} imported {target}",
        example=_example(
            "events.imported",
            {"type": "import", "id": "cloudtrail", "name": "2 files of CloudTrail records"},
            metadata={"accepted": 2900, "duplicates": 0, "conflicts": 0, "rejected": 0},
        ),
    ),
    EventType(
        action="search.reindexed",
        category="configuration",
        title="Search index rebuilt",
        description="Somebody had the search index built again from the log.",
        sentence="{actor} rebuilt the search index",
        example=_example(
            "search.reindexed",
            {"type": "search_index", "id": "search_index", "name": "Search index"},
            metadata={"rows": 2900},
        ),
    ),
    EventType(
        action="cleanup.finished",
        category="configuration",
        title="Standard cleanup run",
        description="Somebody ran the standard cleanup of expired sessions and old exports.",
        sentence="{actor} ran the standard cleanup",
        example=_example(
            "cleanup.finished",
            {"type": "cleanup", "id": "cleanup", "name": "Standard cleanup"},
            metadata={"sessions": 12, "exports": 3},
        ),
    ),
    EventType(
        action="retention.pruned",
        category="configuration",
        title="Old events pruned",
        description="Events past the audit retention lost their text; their hashes stay.",
        sentence="{actor} pruned {target}",
        sensitive=True,
        example=_example(
            "retention.pruned",
            {"type": "audit_log", "id": "audit_log", "name": "41,200 events"},
            metadata={"events": 41200, "minimum_index": 41216, "retention_days": 365},
        ),
    ),
)

EVENT_TYPES: dict[str, EventType] = {kind.action: kind for kind in _TYPES}

SENSITIVE_ACTIONS: frozenset[str] = frozenset(kind.action for kind in _TYPES if kind.sensitive)


def actions_in(category: str) -> tuple[str, ...]:
    """The declared actions of a category, in catalogue order; empty for an unknown one."""
    return tuple(kind.action for kind in _TYPES if kind.category == category)


def category_of(action: str) -> Category | None:
    """The category of a declared action; None for one that only callers know."""
    kind = EVENT_TYPES.get(action)
    return kind.category if kind else None
