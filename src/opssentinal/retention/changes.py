"""What protects the log from being emptied: shortening waits for a second admin and a cool-down, lengthening does not.

Three preferences are safeguards: the audit retention, the cool-down before anything weaker takes effect, and the rule of the
second admin. To strengthen one takes effect at once and ends what was about to weaken it. To weaken one needs a second
admin, where there is one, and then waits for the cool-down in force, so that neither a shorter cool-down nor a moment
without other admins can be the way around it. Releasing a legal hold goes the same way (`holds`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from django.utils import timezone

from opssentinal.approvals import services as approvals
from opssentinal.approvals.models import Approval
from opssentinal.errors import Conflict, InvalidInput
from opssentinal.events.model import Actor, Context, from_us, rfc3339, to_us
from opssentinal.ledger import pruning
from opssentinal.ledger.recording import recording
from opssentinal.retention import holds, policy, scheduling
from opssentinal.retention.models import ScheduledChange
from opssentinal.retention.scheduling import SECTION, Result, call_off, history, hours_text
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import Preferences, change_preferences, preferences
from opssentinal.workspace.principals import user_actor

APPROVAL_KIND: Final = "safeguard.weaken"
RETENTION, COOLDOWN, SECOND_ADMIN = "audit_retention_days", "retention_cooldown_hours", "second_admin_approves"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Safeguard:
    """How one of the three is compared and told."""

    is_weaker: Callable[[Any, Any], bool]
    title: Callable[[Any, Any], str]


def is_shorter(days: int | None, than: int | None) -> bool:
    """Whether a retention is shorter than another; None is for ever."""
    return days is not None and (than is None or days < than)


def _keep(days: int | None) -> str:
    return "for ever" if days is None else f"for {policy.days_text(days)}"


_SAFEGUARDS: Final = {
    RETENTION: _Safeguard(
        is_shorter, lambda new, old: f"Keep audit events {_keep(new)} instead of {policy.days_text(old).lower()}"
    ),
    COOLDOWN: _Safeguard(
        lambda new, old: new < old,
        lambda new, old: f"Cool-down: {hours_text(new)} instead of {hours_text(old)}",
    ),
    SECOND_ADMIN: _Safeguard(
        lambda new, old: old and not new, lambda new, old: "No longer ask a second admin for approval"
    ),
}


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
    detail = _loss_text(value, now) if field == RETENTION and value is not None else ""
    with recording() as record:
        approvals.lock()
        before = getattr(preferences(), field)
        if _SAFEGUARDS[field].is_weaker(value, before):
            if approvals.are_needed(now):
                payload = {"field": field, "before": before, "after": value}
                title = _SAFEGUARDS[field].title(value, before)
                approvals.ask(
                    record, APPROVAL_KIND, title, payload, user=user, context=context, subject=field, detail=detail,
                    now=now,
                )  # fmt: skip
                return Result.ASKED
            return _weaken(record, field, value, user, context, now, None)
        called_off = call_off(record, field, user_actor(user), context, "superseded")
        change_preferences(record, user_actor(user), context, SECTION, **{field: value})
        return Result.IN_FORCE if called_off or value != before else Result.UNCHANGED


def _loss_text(days: int, now: datetime) -> str:
    """What whoever approves a shorter retention should know: what it removes."""
    loss = pruning.preview(to_us(policy.cutoff(now, days)))
    oldest = "" if loss.oldest_us is None else f", the oldest recorded on {from_us(loss.oldest_us):%d %b %Y}"
    what = "event" if loss.events == 1 else "events"
    return (
        f"As it stood when asked, this removes the text of {loss.events:,} {what}{oldest}, less those under legal hold."
    )


def foresee(approval: Approval) -> str:
    """How long it will wait once approved. Raises Conflict where the setting is not any more as it was when asked."""
    if getattr(preferences(), approval.payload["field"]) != approval.payload["before"]:
        raise Conflict(
            "The setting has been changed since this was asked for.",
            hint="It can be rejected or withdrawn, and asked anew.",
        )
    return scheduling.waits_text()


def execute_approved(record: approvals.Record, approval: Approval, context: Context) -> None:
    """Weaken a safeguard as was asked and granted. Raises Conflict as `foresee` does."""
    foresee(approval)
    field, after = approval.payload["field"], approval.payload["after"]
    _weaken(record, field, after, approval.requested_by, context, approval.decided_at or timezone.now(), approval)


def cancel(field: str, actor: Actor, context: Context) -> None:
    """Call off a scheduled change, which any admin may. Raises Conflict where there is none any more."""
    with recording() as record:
        approvals.lock()
        if not call_off(record, field, actor, context, "cancelled"):
            raise Conflict("There is no change to cancel any more.")


def title(change: ScheduledChange) -> str:
    """A scheduled change in words."""
    hold = scheduling.hold_of(change)
    if hold is not None:
        return holds.release_title(hold)
    return _SAFEGUARDS[change.field].title(change.after, change.before)


def scheduled() -> list[ScheduledChange]:
    """The changes that wait for the end of their cool-down."""
    return list(ScheduledChange.objects.select_related("asked_by", "approved_by").order_by("takes_effect_at"))


def apply_due(now: datetime | None = None) -> int:
    """Put in force what waited and whose cool-down is over, each with its event; return how many."""
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
            said = history(current) | {"asked_at": rfc3339(current.asked_at)}
            hold = scheduling.hold_of(current)
            if hold is not None:
                holds.release_now(record, hold, current.asked_by, Context(), now, said)
            else:
                change_preferences(
                    record, user_actor(current.asked_by), Context(), SECTION, metadata=said,
                    **{current.field: current.after},
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
    """Schedule a weaker safeguard, or put it in force where there is no cool-down."""
    change = ScheduledChange(
        field=field, before=getattr(preferences(), field), after=value, asked_by=user,
        asked_at=approval.requested_at if approval else now, approved_by=approval.decided_by if approval else None,
        takes_effect_at=scheduling.end_of_cooldown(now),
    )  # fmt: skip
    call_off(record, field, user_actor(user), context, "superseded")
    if change.takes_effect_at > now:
        scheduling.schedule(record, change, context)
        return Result.SCHEDULED
    # The context is the approver's, who is not the actor; it stands with approval.granted.
    change_preferences(
        record, user_actor(user), Context() if approval else context, SECTION, metadata=history(change),
        **{field: value},
    )  # fmt: skip
    return Result.IN_FORCE
