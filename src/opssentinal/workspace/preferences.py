"""The workspace's preferences: what an admin chooses on the Settings pages, typed and with defaults.

They live in the database, because all processes share them and because a change and its record commit together; what an
operator sets when starting the server lives in `opssentinal.config` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from opssentinal.errors import InvalidInput
from opssentinal.events.model import Actor, Change, Context, Event, Target
from opssentinal.ledger.recording import recording
from opssentinal.query import zone_named
from opssentinal.workspace.encryption import decrypt, encrypt
from opssentinal.workspace.models import StoredPreferences
from opssentinal.workspace.seen import require_seen

# What an event says in the place of a secret.
HIDDEN = "(hidden)"

Days = Annotated[int, Meta(ge=1, le=36_500)]

SECTIONS = {
    "general": "General",
    "email": "E-mail",
    "security": "Security",
    "data_retention": "Data Retention",
    "cleanup": "Standard Cleanup",
}


class Preferences(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every preference with its default. `audit_retention_days` None keeps audit events for ever.

    `public_url` "" stands for the configured address, `smtp_host` "" for no e-mail. Of `lockout_attempts` wrong passwords
    within `lockout_minutes`, the next has to wait as long. A shorter audit retention waits `retention_cooldown_hours`.

    The `cleanup_…` ones belong to the standard cleanup, which never touches an audit event: days after which an expired
    session, the file of an export, a finished delivery and a closed incident (None: never) is deleted.
    """

    workspace_name: Annotated[str, Meta(min_length=1, max_length=100)] = "OpsSentinal"
    public_url: Annotated[str, Meta(max_length=200)] = ""
    time_zone: str = "UTC"
    smtp_host: Annotated[str, Meta(max_length=253)] = ""
    smtp_port: Annotated[int, Meta(ge=1, le=65_535)] = 587
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: Annotated[str, Meta(max_length=320)] = ""
    smtp_from: Annotated[str, Meta(max_length=320)] = ""
    password_length_min: Annotated[int, Meta(ge=8, le=128)] = 12
    lockout_attempts: Annotated[int, Meta(ge=3, le=100)] = 10
    lockout_minutes: Annotated[int, Meta(ge=1, le=1_440)] = 5
    second_factor_required: Literal["nobody", "admins", "everybody"] = "nobody"
    auditors_read_log: bool = False
    audit_retention_days: Days | None = 365
    retention_cooldown_hours: Annotated[int, Meta(ge=0, le=720)] = 24
    second_admin_approves: bool = True
    cleanup_sessions_days: Days = 1
    cleanup_exports_days: Days = 7
    cleanup_deliveries_days: Days = 30
    cleanup_incidents_days: Days | None = None


def preferences() -> Preferences:
    """The preferences as they are now: one read by primary key each time, nothing cached."""
    row = StoredPreferences.objects.filter(pk=1).first()
    return _understood(row.chosen if row else {})


def stored_secret(name: str) -> str | None:
    """A secret of the preferences, such as `smtp_password`; None where there is none. Raises Unavailable (encryption)."""
    row = StoredPreferences.objects.filter(pk=1).first()
    stored = row.secrets.get(name) if row else None
    return None if stored is None else decrypt(stored)


def update_preferences(
    actor: Actor,
    context: Context,
    section: str,
    *,
    secrets: Mapping[str, str | None] | None = None,
    seen: str | None = None,
    **changes: Any,
) -> Preferences:
    """Change preferences and record settings.updated, with before and after of what changed, in one transaction.

    `section` is a key of SECTIONS and the event's target. `secrets` are those to set, or with None to forget; the event
    tells that, and never a value. Nothing is written or recorded if nothing changes. Raises InvalidInput for an unknown
    name or a value out of bounds, and Conflict where what is changed is not any more as it was `seen` (`seen.version_of`).
    """
    with recording() as record:
        return change_preferences(record, actor, context, section, secrets=secrets, seen=seen, **changes)


def change_preferences(
    record: Callable[[Event], None],
    actor: Actor,
    context: Context,
    section: str,
    *,
    secrets: Mapping[str, str | None] | None = None,
    metadata: Mapping[str, Any] | None = None,
    seen: str | None = None,
    **changes: Any,
) -> Preferences:
    """update_preferences inside the caller's recording(); `metadata` tells more of how the change came about."""
    StoredPreferences.objects.get_or_create(pk=1)
    row = StoredPreferences.objects.select_for_update().get(pk=1)
    before = msgspec.structs.asdict(_understood(row.chosen))
    chosen = _checked(before | changes)
    require_seen(seen, {name: before[name] for name in changes})
    after = msgspec.structs.asdict(chosen)
    differing = [Change(field=f, before=before[f], after=after[f]) for f in after if after[f] != before[f]]
    row.chosen = row.chosen | {change.field: change.after for change in differing}
    for name, secret in (secrets or {}).items():
        if secret is None and name not in row.secrets:
            continue
        differing.append(Change(field=name, before=HIDDEN if name in row.secrets else None, after=secret and HIDDEN))
        if secret is None:
            del row.secrets[name]
        else:
            row.secrets[name] = encrypt(secret)
    if differing:
        row.save(update_fields=["chosen", "secrets"])
        target = Target(type="settings", id=section, name=SECTIONS[section])
        record(
            Event(
                action="settings.updated",
                outcome="success",
                actor=actor,
                targets=[target],
                context=context,
                changes=differing,
                metadata=dict(metadata or {}),
            )
        )
    return chosen


def _understood(chosen: dict[str, Any]) -> Preferences:
    """What this version knows of the stored choices; a newer version may have stored more."""
    known = {name: value for name, value in chosen.items() if name in Preferences.__struct_fields__}
    return msgspec.convert(known, Preferences)


def _checked(values: dict[str, Any]) -> Preferences:
    try:
        checked = msgspec.convert(values, Preferences)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{error}.") from error
    zone_named(checked.time_zone, path="$.time_zone")
    return checked
