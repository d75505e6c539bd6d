"""What waits for its cool-down: scheduling a weaker protection of the log and calling it off, each with its event.

One row per thing: a safeguard by its name in Preferences, a legal hold as `hold_7`. What happens when the time has come is
`changes.apply_due`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from opssentinal.approvals.services import Record
from opssentinal.events.model import Actor, Change, Context, Event, Target, rfc3339
from opssentinal.retention.models import LegalHold, ScheduledChange
from opssentinal.workspace.preferences import SECTIONS, preferences
from opssentinal.workspace.principals import user_actor

SECTION: Final = "data_retention"
_HOLD: Final = "hold_"


class Result(Enum):
    """What became of a change."""

    UNCHANGED = "unchanged"
    IN_FORCE = "in_force"
    SCHEDULED = "scheduled"
    ASKED = "asked"


def hold_field(pk: int) -> str:
    """The name under which the release of a legal hold is scheduled."""
    return f"{_HOLD}{pk}"


def hold_of(change: ScheduledChange) -> LegalHold | None:
    """The legal hold that a scheduled change releases; None where it is one of a setting."""
    pk = change.field.removeprefix(_HOLD)
    return None if pk == change.field else LegalHold.objects.get(pk=int(pk))


def end_of_cooldown(now: datetime) -> datetime:
    """When what is scheduled now takes effect; `now` where there is no cool-down."""
    return now + timedelta(hours=preferences().retention_cooldown_hours)


def hours_text(hours: int) -> str:
    """A cool-down in words."""
    return "none" if not hours else f"{hours:,} hour{'' if hours == 1 else 's'}"


def waits_text() -> str:
    """What whoever approves should know of the cool-down in force; "" where there is none."""
    hours = preferences().retention_cooldown_hours
    return f"Once approved it waits {hours_text(hours)}, in which any admin can cancel it." if hours else ""


def schedule(record: Record, change: ScheduledChange, context: Context) -> None:
    """Save a change that waits and record retention.change_scheduled, inside the caller's recording()."""
    change.save(force_insert=True)
    record(
        Event(
            action="retention.change_scheduled",
            outcome="success",
            actor=user_actor(change.asked_by),
            targets=[_target(change)],
            # The context is the approver's where there is one, who is not the actor; it stands with approval.granted.
            context=Context() if change.approved_by_id else context,
            changes=[Change(field=_said(change), before=change.before, after=change.after)],
            metadata=history(change) | {"takes_effect_at": rfc3339(change.takes_effect_at)},
        )
    )


def call_off(record: Record, field: str, actor: Actor, context: Context, reason: str) -> bool:
    """Forget what is scheduled for `field` and record retention.change_cancelled; return whether there was anything."""
    change = ScheduledChange.objects.filter(field=field).first()
    if change is None:
        return False
    change.delete()
    record(
        Event(
            action="retention.change_cancelled",
            outcome="success",
            actor=actor,
            targets=[_target(change)],
            context=context,
            metadata={
                "field": _said(change),
                "after": change.after,
                "takes_effect_at": rfc3339(change.takes_effect_at),
                "reason": reason,
            },
        )
    )
    return True


def history(change: ScheduledChange) -> dict[str, Any]:
    """Who approved, by id: names stand with approval.granted, where they can be erased."""
    return {"approved_by": f"user_{change.approved_by_id}"} if change.approved_by_id else {}


def hold_target(hold: LegalHold) -> Target:
    """A legal hold as a target of events."""
    return Target(type="legal_hold", id=hold_field(hold.pk), name=hold.name)


def _target(change: ScheduledChange) -> Target:
    hold = hold_of(change)
    return hold_target(hold) if hold else Target(type="settings", id=SECTION, name=SECTIONS[SECTION])


def _said(change: ScheduledChange) -> str:
    return "in_force" if change.field.startswith(_HOLD) else change.field
