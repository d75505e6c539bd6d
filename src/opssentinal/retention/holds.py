"""Legal holds: which events retention leaves alone, from when somebody says so until it is released.

The ledger asks `filters_in_force` inside the transaction of every portion it prunes, and placing a hold records an event
and so takes its turn among those: a hold that was placed holds whatever is there when it was.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.utils import timezone

from opssentinal.approvals import services as approvals
from opssentinal.approvals.models import Approval
from opssentinal.errors import Conflict, NotFound
from opssentinal.events.model import Actor, Context, Event
from opssentinal.ledger.recording import recording
from opssentinal.query import Filter
from opssentinal.query import format as format_query
from opssentinal.retention.models import LegalHold, ScheduledChange
from opssentinal.retention.scheduling import (
    Result,
    end_of_cooldown,
    history,
    hold_field,
    hold_target,
    schedule,
    waits_text,
)
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import user_actor

APPROVAL_KIND: Final = "legal_hold.release"
# Each event that is pruned is compared with every hold.
HOLDS_MAX: Final = 200


def filters_in_force() -> tuple[Filter, ...]:
    """What the holds in force mean. Raises InvalidQuery where one cannot be understood: then nothing may be pruned."""
    return tuple(Filter.from_json(hold.filter) for hold in in_force())


def in_force() -> list[LegalHold]:
    """The holds that are not released, the oldest first."""
    return list(LegalHold.objects.filter(released_at=None).select_related("placed_by").order_by("id"))


def place(
    user: User, context: Context, *, name: str, reason: str, filter: Filter, now: datetime | None = None
) -> LegalHold:
    """Place a hold and record legal_hold.placed. Raises Conflict where there are too many or one of this name.

    Relative times in a query have become absolute in `filter`, so that what is held does not move.
    """
    with recording() as record:
        approvals.lock()
        if LegalHold.objects.filter(released_at=None).count() >= HOLDS_MAX:
            raise Conflict(f"There are {HOLDS_MAX} holds already.", hint="Release one, or widen one that is there.")
        if LegalHold.objects.filter(released_at=None, name=name).exists():
            raise Conflict(f"There is a hold named “{name}” already.")
        hold = LegalHold.objects.create(
            name=name, reason=reason, query=format_query(filter, absolute=True), filter=filter.to_json().decode(), placed_by=user,
            placed_at=now or timezone.now(),
        )  # fmt: skip
        said = {"query": hold.query, "reason": reason}
        record(_event("legal_hold.placed", hold, user_actor(user), context, said))
    return hold


def release(pk: int, user: User, context: Context, *, now: datetime | None = None) -> Result:
    """Release a hold after the cool-down, or ask a second admin to approve that.

    Raises NotFound, and Conflict where it was released, or its release waits already.
    """
    now = now or timezone.now()
    with recording() as record:
        approvals.lock()
        hold = _held(pk)
        if not approvals.are_needed(now):
            return _weaken(record, hold, user, context, now, None)
        approvals.ask(
            record, APPROVAL_KIND, release_title(hold), {"hold": hold_field(pk), "query": hold.query}, user=user,
            context=context, subject=str(pk), detail=f"{hold.query}\n{hold.reason}", now=now,
        )  # fmt: skip
        return Result.ASKED


def foresee(approval: Approval) -> str:
    """How long the release will wait once approved. Raises Conflict where the hold is released, or will be, already."""
    _held(int(approval.subject))
    return waits_text()


def execute_approved(record: approvals.Record, approval: Approval, context: Context) -> None:
    """Release the hold, after the cool-down, that a second admin agreed to release. Raises Conflict where it has been."""
    hold = _held(int(approval.subject))
    _weaken(record, hold, approval.requested_by, Context(), approval.decided_at or timezone.now(), approval)


def release_title(hold: LegalHold) -> str:
    """The release of a hold in words."""
    return f"Release the legal hold {hold.name}"


def release_now(
    record: approvals.Record, hold: LegalHold, user: User, context: Context, now: datetime, said: dict[str, Any]
) -> None:
    """Release a hold as `user` and record legal_hold.released, inside the caller's recording()."""
    hold.released_by, hold.released_at = user, now
    hold.save(update_fields=["released_by", "released_at"])
    record(_event("legal_hold.released", hold, user_actor(user), context, {"query": hold.query, **said}))


def _weaken(
    record: approvals.Record, hold: LegalHold, user: User, context: Context, now: datetime, approval: Approval | None
) -> Result:
    """Schedule the release, or carry it out where there is no cool-down."""
    change = ScheduledChange(
        field=hold_field(hold.pk), before=True, after=False, asked_by=user,
        asked_at=approval.requested_at if approval else now, approved_by=approval.decided_by if approval else None,
        takes_effect_at=end_of_cooldown(now),
    )  # fmt: skip
    if change.takes_effect_at > now:
        schedule(record, change, context)
        return Result.SCHEDULED
    release_now(record, hold, user, context, now, history(change))
    return Result.IN_FORCE


def _held(pk: int) -> LegalHold:
    hold = LegalHold.objects.filter(pk=pk).first()
    if hold is None:
        raise NotFound("There is no such hold.")
    if hold.released_at is not None:
        raise Conflict(f"The hold “{hold.name}” has been released.")
    if ScheduledChange.objects.filter(field=hold_field(pk)).exists():
        raise Conflict(f"The hold “{hold.name}” will be released when its cool-down is over.")
    return hold


def _event(action: str, hold: LegalHold, actor: Actor, context: Context, said: dict[str, Any]) -> Event:
    return Event(
        action=action,
        outcome="success",
        actor=actor,
        targets=[hold_target(hold)],
        context=context,
        metadata=said,
    )
