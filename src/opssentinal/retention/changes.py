"""What protects the log from being emptied: shortening waits for a second admin and a cool-down, lengthening does not.

Three preferences are safeguards: the audit retention, the cool-down before a shorter one takes effect, and the rule of the
second admin. To strengthen one takes effect at once and ends what was about to weaken it. To weaken one needs a second
admin, where there is one; and a shorter retention or cool-down then waits for the cool-down in force, so that a shorter
cool-down cannot be the way around the present one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

import msgspec
from django.utils import timezone

from opssentinal.approvals import services as approvals
from opssentinal.approvals.models import Approval
from opssentinal.errors import Conflict, InvalidInput
from opssentinal.events.model import Actor, Change, Context, Event, Target, from_us, to_us
from opssentinal.ledger import pruning
from opssentinal.ledger.recording import recording
from opssentinal.retention import policy
from opssentinal.retention.models import ScheduledChange
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import SECTIONS, Preferences, change_preferences, preferences
from opssentinal.workspace.principals import user_actor

APPROVAL_KIND: Final = "safeguard.weaken"
SECTION: Final = "data_retention"
RETENTION, COOLDOWN, SECOND_ADMIN = "audit_retention_days", "retention_cooldown_hours", "second_admin_approves"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Safeguard:
    """How one of the three is compared and told."""

    is_weaker: Callable[[Any, Any], bool]
    title: Callable[[Any, Any], str]
    waits: bool


def is_shorter(days: int | None, than: int | None) -> bool:
    """Whether a retention is shorter than another; None is for ever."""
    return days is not None and (than is None or days < than)


def hours_text(hours: int) -> str:
    """A cool-down in words."""
    return "no cool-down" if not hours else f"a cool-down of {hours:,} hour{'' if hours == 1 else 's'}"


def _keep(days: int | None) -> str:
    return "for ever" if days is None else f"for {policy.days_text(days)}"


_SAFEGUARDS: Final = {
    RETENTION: _Safeguard(
        is_shorter, lambda new, old: f"Keep audit events {_keep(new)} instead of {policy.days_text(old).lower()}", True
    ),
    COOLDOWN: _Safeguard(
        lambda new, old: new < old,
        lambda new, old: f"Shorten the retention after {hours_text(new)} instead of {hours_text(old)}",
        True,
    ),
    SECOND_ADMIN: _Safeguard(
        lambda new, old: old and not new, lambda new, old: "No longer ask a second admin for approval", False
    ),
}


class Result(Enum):
    """What became of a change."""

    UNCHANGED = "unchanged"
    IN_FORCE = "in_force"
    SCHEDULED = "scheduled"
    ASKED = "asked"


def check(field: str, value: Any) -> None:
    """Refuse a value out of bounds with InvalidInput: one that waits would only be found out when it takes effect."""
    if field == RETENTION and value is not None and value < policy.DAYS_MIN:
        raise InvalidInput(f"The audit retention is at least {policy.DAYS_MIN} days.")
    try:
        msgspec.convert({field: value}, Preferences)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{error}.") from error


def choose(user: User, context: Context, field: str, value: Any, *, now: datetime | None = None) -> Result:
    """Change a safeguard in the way it may be changed now. Raises InvalidInput, and Conflict where a request waits.

    Choosing what is in force calls off a change that was scheduled.
    """
    now = now or timezone.now()
    check(field, value)
    detail = _detail(field, value, now)
    with recording() as record:
        approvals.lock()
        before = getattr(preferences(), field)
        if _SAFEGUARDS[field].is_weaker(value, before):
            if approvals.are_needed():
                payload = {"field": field, "before": before, "after": value}
                title = _SAFEGUARDS[field].title(value, before)
                approvals.ask(
                    record, APPROVAL_KIND, title, payload, user=user, context=context, subject=field, detail=detail,
                    now=now,
                )  # fmt: skip
                return Result.ASKED
            return _weaken(record, field, value, user, context, now, None)
        called_off = _call_off(record, field, user_actor(user), context, "superseded")
        change_preferences(record, user_actor(user), context, SECTION, **{field: value})
        return Result.IN_FORCE if called_off or value != before else Result.UNCHANGED


def _detail(field: str, value: Any, now: datetime) -> str:
    """What whoever approves should know: what a shorter retention removes, and how long it waits."""
    if not _SAFEGUARDS[field].waits:
        return ""
    hours = preferences().retention_cooldown_hours
    unit = "hour" if hours == 1 else "hours"
    waits = f"Once approved it waits {hours:,} {unit}, in which any admin can cancel it." if hours else ""
    if field != RETENTION or value is None:
        return waits
    loss = pruning.preview(to_us(policy.cutoff(now, value)))
    oldest = "" if loss.oldest_us is None else f", the oldest recorded on {from_us(loss.oldest_us):%d %b %Y}"
    what = "event" if loss.events == 1 else "events"
    events = f"As it stood when asked, this removes the text of {loss.events:,} {what}{oldest}"
    return f"{events}, less those under legal hold. {waits}".strip()


def execute_approved(record: approvals.Record, approval: Approval, context: Context) -> None:
    """Weaken a safeguard as was asked and granted. Raises Conflict where it is not any more as it was then."""
    field, before, after = (approval.payload[name] for name in ("field", "before", "after"))
    if getattr(preferences(), field) != before:
        raise Conflict(
            "The setting has been changed since this was asked for.", hint="Reject it; it can be asked anew."
        )
    _weaken(record, field, after, approval.requested_by, context, approval.decided_at or timezone.now(), approval)


def cancel(field: str, actor: Actor, context: Context) -> None:
    """Call off a scheduled change, which any admin may. Raises Conflict where there is none any more."""
    with recording() as record:
        approvals.lock()
        if not _call_off(record, field, actor, context, "cancelled"):
            raise Conflict("There is no change to cancel any more.")


def title(change: ScheduledChange) -> str:
    """A scheduled change in words."""
    return _SAFEGUARDS[change.field].title(change.after, change.before)


def scheduled() -> list[ScheduledChange]:
    """The changes that wait for the end of their cool-down."""
    return list(ScheduledChange.objects.select_related("asked_by", "approved_by").order_by("takes_effect_at"))


def apply_due(now: datetime | None = None) -> int:
    """Put the scheduled changes in force whose cool-down is over, each with its settings.updated; return how many."""
    now = now or timezone.now()
    due = list(ScheduledChange.objects.filter(takes_effect_at__lte=now).order_by("takes_effect_at"))
    applied = 0
    for change in due:
        with recording() as record:
            approvals.lock()
            # Whoever cancelled it meanwhile, or applied it on another server, was first.
            current = ScheduledChange.objects.select_related("asked_by").filter(pk=change.pk).first()
            if current is None:
                continue
            current.delete()
            change_preferences(
                record, user_actor(current.asked_by), Context(), SECTION,
                metadata=_history(current) | {"scheduled_at": _utc(current.asked_at)}, **{current.field: current.after},
            )  # fmt: skip
            applied += 1
            _log.info("%s is now %s", current.field, current.after)
    return applied


def _weaken(
    record: approvals.Record,
    field: str,
    value: Any,
    user: User,
    context: Context,
    now: datetime,
    approval: Approval | None,
) -> Result:
    """Schedule a weaker safeguard, or put it in force where nothing has to be waited for."""
    chosen = preferences()
    approver = approval.decided_by if approval else None
    change = ScheduledChange(
        field=field, before=getattr(chosen, field), after=value, asked_by=user, asked_at=now, approved_by=approver,
        takes_effect_at=now + timedelta(hours=chosen.retention_cooldown_hours),
    )  # fmt: skip
    _call_off(record, field, user_actor(user), context, "superseded")
    if not _SAFEGUARDS[field].waits or not chosen.retention_cooldown_hours:
        # The context is the approver's, who is not the actor; it stands with approval.granted.
        change_preferences(
            record, user_actor(user), Context() if approver else context, SECTION, metadata=_history(change),
            **{field: value},
        )  # fmt: skip
        return Result.IN_FORCE
    change.save(force_insert=True)
    record(
        Event(
            action="retention.change_scheduled",
            outcome="success",
            actor=user_actor(user),
            targets=[Target(type="settings", id=SECTION, name=SECTIONS[SECTION])],
            context=Context() if approver else context,
            changes=[Change(field=field, before=change.before, after=value)],
            metadata=_history(change) | {"takes_effect_at": _utc(change.takes_effect_at)},
        )
    )
    return Result.SCHEDULED


def _call_off(record: approvals.Record, field: str, actor: Actor, context: Context, reason: str) -> bool:
    change = ScheduledChange.objects.filter(field=field).first()
    if change is None:
        return False
    change.delete()
    record(
        Event(
            action="retention.change_cancelled",
            outcome="success",
            actor=actor,
            targets=[Target(type="settings", id=SECTION, name=SECTIONS[SECTION])],
            context=context,
            metadata={
                "field": field,
                "after": change.after,
                "takes_effect_at": _utc(change.takes_effect_at),
                "reason": reason,
            },
        )
    )
    return True


def _history(change: ScheduledChange) -> dict[str, Any]:
    """Who approved, by id: names stand with approval.granted, where they can be erased."""
    return {"approved_by": f"user_{change.approved_by_id}"} if change.approved_by_id else {}


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
