"""Legal holds: which events retention leaves alone, from when somebody says so until it is released.

The ledger asks `filters_in_force` inside the transaction of every portion it prunes, and placing a hold records an event
and so takes its turn among those: a hold that was placed holds whatever is there when it was.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.utils import timezone

from opssentinal.approvals import services as approvals
from opssentinal.approvals.models import Approval
from opssentinal.errors import Conflict, NotFound
from opssentinal.events.model import Actor, Context, Event, Target
from opssentinal.ledger.recording import recording
from opssentinal.query import Filter
from opssentinal.query import format as format_query
from opssentinal.retention.models import LegalHold
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


def release(pk: int, user: User, context: Context, *, now: datetime | None = None) -> bool:
    """Release a hold, or ask a second admin to approve that; return whether it is released.

    Raises NotFound, and Conflict where it was released or a request waits.
    """
    with recording() as record:
        approvals.lock()
        hold = _held(pk)
        if not approvals.are_needed():
            _release(record, hold, user, context, now or timezone.now(), None)
            return True
        title = f"Release the legal hold {hold.name}"
        approvals.ask(
            record, APPROVAL_KIND, title, {"hold": f"hold_{pk}", "query": hold.query}, user=user, context=context,
            subject=str(pk), detail=f"{hold.query}\n{hold.reason}", now=now,
        )  # fmt: skip
        return False


def execute_approved(record: approvals.Record, approval: Approval, context: Context) -> None:
    """Release the hold that a second admin agreed to release. Raises Conflict where it has been."""
    hold = _held(int(approval.subject))
    _release(record, hold, approval.requested_by, Context(), approval.decided_at or timezone.now(), approval)


def _held(pk: int) -> LegalHold:
    hold = LegalHold.objects.filter(pk=pk).first()
    if hold is None:
        raise NotFound("There is no such hold.")
    if hold.released_at is not None:
        raise Conflict(f"The hold “{hold.name}” has been released.")
    return hold


def _release(
    record: approvals.Record, hold: LegalHold, user: User, context: Context, now: datetime, approval: Approval | None
) -> None:
    hold.released_by, hold.released_at = user, now
    hold.save(update_fields=["released_by", "released_at"])
    said = {"approved_by": f"user_{approval.decided_by_id}"} if approval else {}
    record(_event("legal_hold.released", hold, user_actor(user), context, {"query": hold.query, **said}))


def _event(action: str, hold: LegalHold, actor: Actor, context: Context, said: dict[str, str]) -> Event:
    return Event(
        action=action,
        outcome="success",
        actor=actor,
        targets=[Target(type="legal_hold", id=f"hold_{hold.pk}", name=hold.name)],
        context=context,
        metadata=said,
    )
