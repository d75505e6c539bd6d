"""The workspace's preferences: what an admin chooses on the Settings pages, typed and with defaults.

They live in the database, because all processes share them and because a change and its record commit together; what an
operator sets when starting the server lives in `opssentinal.config` instead.
"""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import available_timezones

import msgspec
from msgspec import Meta, Struct

from opssentinal.errors import InvalidInput
from opssentinal.events.model import Actor, Change, Context, Event, Target
from opssentinal.ledger.recording import recording
from opssentinal.workspace.models import StoredPreferences

Days = Annotated[int, Meta(ge=1, le=36_500)]

SECTIONS = {"general": "General", "data_retention": "Data Retention", "cleanup": "Standard Cleanup"}


class Preferences(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every preference with its default. `audit_retention_days` None keeps audit events for ever.

    The `cleanup_…` ones belong to the standard cleanup, which never touches an audit event: days after which an expired
    session, and after which the file of an export, is deleted.
    """

    workspace_name: Annotated[str, Meta(min_length=1, max_length=100)] = "OpsSentinal"
    time_zone: str = "UTC"
    audit_retention_days: Days | None = 365
    cleanup_sessions_days: Days = 1
    cleanup_exports_days: Days = 7


def preferences() -> Preferences:
    """The preferences as they are now: one read by primary key each time, nothing cached."""
    row = StoredPreferences.objects.filter(pk=1).first()
    return _understood(row.chosen if row else {})


def update_preferences(actor: Actor, context: Context, section: str, **changes: Any) -> Preferences:
    """Change preferences and record settings.updated, with before and after of what changed, in one transaction.

    `section` is a key of SECTIONS and the event's target. Nothing is written or recorded if nothing changes. Raises
    InvalidInput for an unknown name or a value out of bounds.
    """
    target = Target(type="settings", id=section, name=SECTIONS[section])
    with recording() as record:
        StoredPreferences.objects.get_or_create(pk=1)
        row = StoredPreferences.objects.select_for_update().get(pk=1)
        before = msgspec.structs.asdict(_understood(row.chosen))
        chosen = _checked(before | changes)
        after = msgspec.structs.asdict(chosen)
        differing = [Change(field=f, before=before[f], after=after[f]) for f in after if after[f] != before[f]]
        if differing:
            row.chosen = row.chosen | {change.field: change.after for change in differing}
            row.save(update_fields=["chosen"])
            record(
                Event(
                    action="settings.updated",
                    outcome="success",
                    actor=actor,
                    targets=[target],
                    context=context,
                    changes=differing,
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
    if checked.time_zone not in available_timezones():
        raise InvalidInput("There is no such time zone.", path="$.time_zone", hint="Use a name such as Europe/Berlin.")
    return checked
