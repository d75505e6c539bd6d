"""Who read what, and what left the product."""

from __future__ import annotations

from opssentinal.events.event_type import EventType, example

TYPES = (
    EventType(
        action="incident.viewed",
        category="data_access",
        title="Incident viewed",
        description="Somebody opened an incident.",
        sentence="{actor} viewed {target}",
        example=example("incident.viewed", {"type": "incident", "id": "incident_42", "name": "Checkout is slow"}),
    ),
    EventType(
        action="export.downloaded",
        category="data_access",
        title="Export created or downloaded",
        description="The log, or a part of it, left the product as a file: once when the file is made (stage created), and "
        "once each time it is fetched (stage fetched).",
        sentence="{actor} exported {target}",
        sensitive=True,
        example=example(
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
        example=example(
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
        example=example("api_key.revoked", {"type": "api_key", "id": "k4fQ2mXw", "name": "billing"}),
    ),
    EventType(
        action="access.denied",
        category="data_access",
        title="Access denied",
        description="Somebody asked for a page or an operation they have no right to.",
        sentence="{actor} was denied access to {target}",
        example=example("access.denied", {"type": "page", "id": "audit_log", "name": "Audit Logs"}, outcome="denied"),
    ),
    EventType(
        action="audit_log.viewed",
        category="data_access",
        title="Audit log read",
        description="Somebody read events, on a page, through the API or with a command on the server: one for each session, "
        "API key or person, view and ten minutes at most, without what was searched for.",
        sentence="{actor} read the audit log",
        example=example(
            "audit_log.viewed", {"type": "audit_log", "id": "audit_log", "name": "Audit log"}, metadata={"view": "tail"}
        ),
    ),
    EventType(
        action="audit_log.verified",
        category="data_access",
        title="Audit log verified",
        description="Every hash of the log was derived again and compared (fsck); a failure means that something differs.",
        sentence="{actor} verified the audit log",
        example=example(
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
        example=example(
            "events.imported",
            {"type": "import", "id": "cloudtrail", "name": "2 files of CloudTrail records"},
            metadata={"accepted": 2900, "duplicates": 0, "conflicts": 0, "rejected": 0},
        ),
    ),
    EventType(
        action="incident.created",
        category="data_access",
        title="Incident opened",
        description="An incident was opened, by hand or through the API.",
        sentence="{actor} opened {target}",
        example=example(
            "incident.created",
            {"type": "incident", "id": "incident_42", "name": "Checkout is slow"},
            metadata={"severity": "high"},
        ),
    ),
    EventType(
        action="incident.updated",
        category="data_access",
        title="Incident updated",
        description="An incident changed: its fields, a note, or the events attached to it.",
        sentence="{actor} updated {changes} of {target}",
        example=example(
            "incident.updated",
            {"type": "incident", "id": "incident_42", "name": "Checkout is slow"},
            changes=[{"field": "status", "before": "open", "after": "resolved"}],
        ),
    ),
)
