"""Plants a hostile text in every text column of every table, as if no form had ever refused one; run beside the server.

Prints JSON: the text of each column, and what the addresses of pages need.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import django
import msgspec

django.setup()

from django.apps import apps
from django.db import models
from django.utils import timezone

from opssentinal.retention import changes
from opssentinal.workspace.models import StoredPreferences
from opssentinal.workspace.preferences import Preferences

# Its beginning tells columns apart; what fits into the shortest of them is an element already.
PAYLOAD = (
    "p{:02d}\"'><b class=pwned></title></script><script>window.pwned=1;alert(1)</script><img src=x onerror=alert(1)>"
)
# What the product's code alone writes, in a form that it reads again.
FORMED: dict[str, Any] = {
    "apikeys.APIKey.public_id": "plantedK", "apikeys.APIKey.token_sha256": "0" * 64, "apikeys.APIKey.scopes": ["events:read"],
    "apikeys.APIKey.networks": [],
    "approvals.Approval.kind": changes.APPROVAL_KIND, "approvals.Approval.decided_by": None, "approvals.Approval.decided_at": None,
    "approvals.Approval.payload": {"field": "audit_retention_days", "before": 365, "after": 30},
    "exports.Export.public_id": "exp_planted", "exports.Export.filter_json": "{}", "exports.Export.actor_json": '{"type":"t","id":"1"}',
    "exports.Export.context_json": "{}", "exports.Export.tz": "UTC", "exports.Export.sha256": "0" * 64, "exports.Export.server": "",
    "integrations.Integration.public_id": "int_planted", "integrations.Integration.query": "",
    "integrations.Integration.secret": "", "integrations.Integration.old_secret": "",
    "integrations.Integration.paused_code": "failing", "integrations.Delivery.webhook_id": "msg_planted", "integrations.Delivery.seqs": [1],
    "retention.LegalHold.filter": "{}", "retention.RetentionRun.counts": {},
    "retention.ScheduledChange.field": "audit_retention_days", "retention.ScheduledChange.before": 365,
    "retention.ScheduledChange.after": 30,
    "sso.OIDCProvider.client_secret": "", "sso.OIDCProvider.tested": "", "sso.OIDCProvider.domains": [], "sso.OIDCProvider.rules": [],
    "incidents.Incident.request_sha256": "", "incidents.Incident.number": 1000,
    "usersessions.UserSession.session_key": "planted", "usersessions.UserSession.data": {},
    "workspace.User.password": "!",
}  # fmt: skip
# Shown in a state of the row that is not the one of its defaults.
STATES: dict[str, Any] = {
    "exports.Export.status": "failed",
    "integrations.Delivery.status": "failed",
    "retention.RetentionRun.kind": "audit",
    "sso.OIDCProvider.is_enabled": True,
    "workspace.User.role": "admin",
    "apikeys.APIKey.revoked_at": None,
    "retention.LegalHold.released_by": None,
    "retention.LegalHold.released_at": None,
}
FORMED_PREFERENCES = {"public_url", "time_zone"}
# Tables that hold no text of people, or are not ours.
NO_TEXT = {
    "workspace.SetupToken", "workspace.StoredPreferences", "approvals.AdminTerm", "incidents.Counter",
}  # fmt: skip
OTHERS = {"usersessions.UserSession"}
ORDER = ("User", "Incident", "Integration")


def tables() -> list[type[models.Model]]:
    """Our own, and those of others whose text is shown; what others point at comes first."""
    found = [
        model
        for model in apps.get_models()
        if (model.__module__.startswith("opssentinal.") or model._meta.label in OTHERS)
        and model._meta.label not in NO_TEXT
    ]
    return sorted(found, key=lambda model: ORDER.index(model.__name__) if model.__name__ in ORDER else len(ORDER))


def plant() -> dict[str, str]:
    """One row in each table; the text of each column by its name."""
    texts: dict[str, str] = {}
    rows: dict[type[models.Model], models.Model] = {}
    for model in tables():
        values: dict[str, Any] = {}
        for field in model._meta.concrete_fields:
            name = f"{model._meta.label}.{field.name}"
            if field.auto_created:
                continue
            if name in FORMED or name in STATES:
                values[field.name] = FORMED.get(name, STATES.get(name))
            elif isinstance(field, models.CharField | models.TextField) and not field.choices:
                texts[name] = PAYLOAD.format(len(texts))[: field.max_length]
                values[field.name] = texts[name]
            elif (value := _plain(field, rows)) is not None:
                values[field.name] = value
        rows[model] = model.objects.create(**values)
    name, preferences = "workspace.StoredPreferences", {}
    for kind in msgspec.inspect.type_info(Preferences).fields:
        if isinstance(_bare(kind.type), msgspec.inspect.StrType) and kind.name not in FORMED_PREFERENCES:
            texts[f"{name}.{kind.name}"] = preferences[kind.name] = PAYLOAD.format(len(texts))[:100]
    StoredPreferences.objects.update_or_create(pk=1, defaults={"chosen": preferences})
    return texts


def _bare(kind: Any) -> Any:
    return _bare(kind.type) if isinstance(kind, msgspec.inspect.Metadata) else kind


def _plain(field: Any, rows: dict[type[models.Model], models.Model]) -> Any:
    """A value for a column without text; None leaves it at its default."""
    if isinstance(field, models.ForeignKey):
        return rows.get(field.related_model)
    if isinstance(field, models.DateTimeField):
        is_end = field.name in ("expires_at", "takes_effect_at", "old_secret_until", "link_expires_at")
        return timezone.now() + timedelta(days=1) if is_end else timezone.now()
    if isinstance(field, models.GenericIPAddressField):
        return "203.0.113.9"
    if isinstance(field, models.UUIDField):
        return "0193d2b4-7c3e-7f00-8000-000000000001"
    if isinstance(field, models.BooleanField):
        return None
    if isinstance(field, models.IntegerField) and not field.has_default():
        return 1
    return field.choices[0][0] if field.choices and not field.has_default() else None


if __name__ == "__main__":
    planted = plant()
    print(json.dumps(planted))
