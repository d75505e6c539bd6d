"""How the workspace is set up."""

from __future__ import annotations

from opssentinal.events.event_type import EventType, example

TYPES = (
    EventType(
        action="settings.updated",
        category="configuration",
        title="Settings updated",
        description="A setting of the workspace changed.",
        sentence="{actor} updated {changes} in {target}",
        sensitive=True,
        example=example(
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
        example=example("integration.created", {"type": "integration", "id": "int_3", "name": "PagerDuty"}),
    ),
    EventType(
        action="integration.deleted",
        category="configuration",
        title="Integration deleted",
        description="A destination or service was disconnected.",
        sentence="{actor} deleted the integration {target}",
        sensitive=True,
        example=example("integration.deleted", {"type": "integration", "id": "int_3", "name": "PagerDuty"}),
    ),
    EventType(
        action="oidc.configured",
        category="configuration",
        title="Single sign-on configured",
        description="The OpenID Connect provider was set up, changed or switched.",
        sentence="{actor} configured single sign-on with {target}",
        sensitive=True,
        example=example("oidc.configured", {"type": "oidc_provider", "id": "oidc_1", "name": "Keycloak"}),
    ),
    EventType(
        action="search.reindexed",
        category="configuration",
        title="Search index rebuilt",
        description="Somebody had the search index built again from the log.",
        sentence="{actor} rebuilt the search index",
        example=example(
            "search.reindexed",
            {"type": "search_index", "id": "search_index", "name": "Search index"},
            metadata={"rows": 2900},
        ),
    ),
    EventType(
        action="cleanup.finished",
        category="configuration",
        title="Standard cleanup run",
        description="Somebody ran the standard cleanup of expired sessions and old exports, or it deleted incidents.",
        sentence="{actor} ran the standard cleanup",
        example=example(
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
        example=example(
            "retention.pruned",
            {"type": "audit_log", "id": "audit_log", "name": "41,200 events"},
            metadata={"events": 41200, "minimum_index": 41216, "retention_days": 365},
        ),
    ),
    EventType(
        action="retention.clock_confirmed",
        category="configuration",
        title="Clock confirmed",
        description="The server’s clock had leapt ahead, so that retention waited; somebody said that it is right.",
        sentence="{actor} confirmed the server’s clock for {target}",
        sensitive=True,
        example=example(
            "retention.clock_confirmed",
            {"type": "settings", "id": "data_retention", "name": "Data Retention"},
            metadata={"clock": "2028-01-02T10:00:00Z", "last_look": "2026-11-28T10:00:00Z"},
        ),
    ),
    EventType(
        action="oidc.tested",
        category="configuration",
        title="Single sign-on tested",
        description="An admin tried the OpenID Connect provider by signing in through it.",
        sentence="{actor} tested single sign-on with {target}",
        example=example("oidc.tested", {"type": "oidc_provider", "id": "oidc_1", "name": "Keycloak"}),
    ),
    EventType(
        action="integration.updated",
        category="configuration",
        title="Integration updated",
        description="A destination was changed, paused, resumed, or given a new secret.",
        sentence="{actor} updated {changes} of the integration {target}",
        sensitive=True,
        example=example(
            "integration.updated",
            {"type": "integration", "id": "int_3", "name": "PagerDuty"},
            changes=[{"field": "enabled", "before": False, "after": True}],
        ),
    ),
    EventType(
        action="integration.tested",
        category="configuration",
        title="Integration tested",
        description="A test delivery was sent to a destination.",
        sentence="{actor} tested the integration {target}",
        example=example(
            "integration.tested",
            {"type": "integration", "id": "int_3", "name": "PagerDuty"},
            metadata={"status": 204, "latency_ms": 81},
        ),
    ),
    EventType(
        action="integration.paused",
        category="configuration",
        title="Integration paused by failures",
        description="A destination kept failing, so that its deliveries wait until somebody resumes them; nothing is "
        "skipped.",
        sentence="{actor} paused the integration {target}",
        sensitive=True,
        example=example(
            "integration.paused",
            {"type": "integration", "id": "int_3", "name": "PagerDuty"},
            metadata={"reason": "503 Service Unavailable", "position": 41216},
        ),
    ),
    EventType(
        action="integration.replayed",
        category="configuration",
        title="Integration replayed",
        description="Events are sent to a destination again from an earlier point on.",
        sentence="{actor} replays events to the integration {target}",
        sensitive=True,
        example=example(
            "integration.replayed",
            {"type": "integration", "id": "int_3", "name": "PagerDuty"},
            metadata={"from_seq": 41000, "position": 41216},
        ),
    ),
    EventType(
        action="email.tested",
        category="configuration",
        title="E-mail tested",
        description="An admin sent a test message through the mail server.",
        sentence="{actor} sent a test message to {target}",
        example=example("email.tested", {"type": "mailbox", "id": "alice@example.com"}),
    ),
    EventType(
        action="retention.change_scheduled",
        category="configuration",
        title="Weaker protection scheduled",
        description="A shorter retention, a weaker safeguard or the release of a legal hold; it takes effect after the"
        " cool-down and can be cancelled until then.",
        sentence="{actor} scheduled a change that weakens {target}",
        sensitive=True,
        example=example(
            "retention.change_scheduled",
            {"type": "settings", "id": "data_retention", "name": "Data Retention"},
            changes=[{"field": "audit_retention_days", "before": 365, "after": 90}],
            metadata={"takes_effect_at": "2026-11-23T10:00:00Z"},
        ),
    ),
    EventType(
        action="retention.change_cancelled",
        category="configuration",
        title="Weaker protection cancelled",
        description="A scheduled change that weakens the log’s protection was called off.",
        sentence="{actor} cancelled the change that weakens {target}",
        sensitive=True,
        example=example(
            "retention.change_cancelled", {"type": "settings", "id": "data_retention", "name": "Data Retention"}
        ),
    ),
    EventType(
        action="legal_hold.placed",
        category="configuration",
        title="Legal hold placed",
        description="Events that match survive retention until the hold is released.",
        sentence="{actor} placed the legal hold {target}",
        sensitive=True,
        example=example(
            "legal_hold.placed",
            {"type": "legal_hold", "id": "hold_2", "name": "Case 2026-17"},
            metadata={"query": "actor:usr_9", "reason": "Case 2026-17"},
        ),
    ),
    EventType(
        action="legal_hold.released",
        category="configuration",
        title="Legal hold released",
        description="Retention applies again to the events of the hold.",
        sentence="{actor} released the legal hold {target}",
        sensitive=True,
        example=example("legal_hold.released", {"type": "legal_hold", "id": "hold_2", "name": "Case 2026-17"}),
    ),
    EventType(
        action="approval.requested",
        category="configuration",
        title="Approval requested",
        description="A change that needs a second admin was asked for.",
        sentence="{actor} asked for approval: {target}",
        sensitive=True,
        example=example(
            "approval.requested", {"type": "approval", "id": "approval_5", "name": "Keep audit events for 90 days"}
        ),
    ),
    EventType(
        action="approval.granted",
        category="configuration",
        title="Approval granted",
        description="A second admin approved a change, which takes its course.",
        sentence="{actor} approved: {target}",
        sensitive=True,
        example=example(
            "approval.granted", {"type": "approval", "id": "approval_5", "name": "Keep audit events for 90 days"}
        ),
    ),
    EventType(
        action="approval.rejected",
        category="configuration",
        title="Approval rejected",
        description="A second admin refused a change.",
        sentence="{actor} rejected: {target}",
        sensitive=True,
        example=example(
            "approval.rejected", {"type": "approval", "id": "approval_5", "name": "Keep audit events for 90 days"}
        ),
    ),
    EventType(
        action="approval.cancelled",
        category="configuration",
        title="Approval request withdrawn",
        description="A change that waited for a second admin was withdrawn, or its time ran out.",
        sentence="{actor} withdrew: {target}",
        example=example(
            "approval.cancelled", {"type": "approval", "id": "approval_5", "name": "Keep audit events for 90 days"}
        ),
    ),
)
