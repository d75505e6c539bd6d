"""Second-admin approval: a change that weakens the log's protection happens when another admin agrees.

A room registers for each `kind` of change what carries it out, and asks where `are_needed()`; granting runs that inside
the transaction that records the grant. Nothing else of the change is known here.

All of it holds the row of the preferences first, so that decisions and the changes they are about come one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils import timezone

from opssentinal.approvals.models import Approval
from opssentinal.approvals.terms import active_admins, are_several, has_been_admin_since
from opssentinal.errors import Conflict, Forbidden, NotFound
from opssentinal.events.model import Actor, Context, Event, Target
from opssentinal.ledger.recording import recording
from opssentinal.workspace.models import StoredPreferences, User
from opssentinal.workspace.preferences import preferences
from opssentinal.workspace.principals import user_actor

WAITS: Final = timedelta(days=7)
# As much as the clocks of two servers may differ.
_CLOCKS_DIFFER_MAX: Final = timedelta(minutes=1)
EXPIRY_ACTOR: Final = Actor(type="system", id="approvals", name="Expiry of requests")

Record = Callable[[Event], None]
Execute = Callable[[Record, Approval, Context], None]
Foresee = Callable[[Approval], str]

_executors: dict[str, Execute] = {}
_foresights: dict[str, Foresee] = {}


def register(kind: str, execute: Execute, foresee: Foresee) -> None:
    """Say what carries out the changes of a kind, and what it would do; call it when the app is ready.

    `execute(record, approval, context)` runs inside the recording() of the grant, with `approval.requested_by` and
    `approval.decided_by` set and `context` the approver's. It raises Conflict where the change is not any more what was
    asked for: then nothing is granted.

    `foresee(approval)` says what whoever decides should know as things are now. It raises Conflict where `execute` would.
    """
    _executors[kind], _foresights[kind] = execute, foresee


def are_needed(now: datetime | None = None) -> bool:
    """Whether a second admin has to approve: the workspace wants it, and there are two admins or were until lately."""
    return preferences().second_admin_approves and are_several(now)


def ask(
    record: Record,
    kind: str,
    title: str,
    payload: Mapping[str, Any],
    *,
    user: User,
    context: Context,
    subject: str = "",
    detail: str = "",
    now: datetime | None = None,
) -> Approval:
    """Ask for approval inside the caller's recording(). Raises Conflict where one for the same `subject` waits already.

    `detail` is what whoever decides should know and stays as it was then. `payload` is shown in the event, so it holds no secret. Changes of things that several people may ask for at once, such
    as holds, name the thing as `subject`.
    """
    if kind not in _executors:
        raise ValueError(f"nothing carries out {kind!r}")
    lock()
    now = now or timezone.now()
    _expire(record, Approval.objects.filter(kind=kind, subject=subject), now)
    if (
        waiting := Approval.objects.filter(kind=kind, subject=subject, state=Approval.State.WAITING).first()
    ) is not None:
        raise Conflict(f"“{waiting.title}” waits for approval already.", hint="Withdraw or decide that request first.")
    approval = Approval.objects.create(
        kind=kind, subject=subject, title=title[:256], detail=detail, payload=dict(payload), requested_by=user,
        requested_at=now, expires_at=now + WAITS,
    )  # fmt: skip
    record(_event("approval.requested", approval, user_actor(user), context, dict(payload)))
    return approval


def grant(pk: int, user: User, context: Context, *, now: datetime | None = None) -> Approval:
    """Approve and carry out. Raises Forbidden for whoever asked and who is no active admin, Conflict where it is too late.

    Forbidden too for whoever became an admin, or was given a new way in, only after it was asked for: or who asks could
    make the approver. Whoever asked must still be an active admin too: the rule is that two of them want it. Conflict too where it was asked
    for at a time that the clock has not reached: one of the two clocks is wrong, and cannot say who was an admin then.
    """
    with recording() as record:
        lock()
        now = now or timezone.now()
        approval = _waiting(pk, now)
        _check_decider(approval, user)
        _check_asker(approval)
        if approval.requested_at - now > _CLOCKS_DIFFER_MAX:
            # Who is made an admin after it would seem to have been one before.
            raise Conflict(
                f"“{approval.title}” was asked for at a time that the server's clock has not reached.",
                hint="It can be rejected, or withdrawn and asked anew.",
            )
        if not has_been_admin_since(user, approval.requested_at):
            raise Forbidden(
                "Your account was made, made an admin or given a new way to sign in after this was asked for.",
                hint="Another admin can approve it, or it can be withdrawn and asked anew.",
            )
        _decide(approval, Approval.State.GRANTED, user, now)
        record(_event("approval.granted", approval, user_actor(user), context))
        _executors[approval.kind](record, approval, context)
    return approval


def reject(pk: int, user: User, context: Context, *, now: datetime | None = None) -> Approval:
    """Refuse. Raises Forbidden and Conflict as `grant` does."""
    with recording() as record:
        lock()
        now = now or timezone.now()
        approval = _waiting(pk, now)
        _check_decider(approval, user)
        _decide(approval, Approval.State.REJECTED, user, now)
        record(_event("approval.rejected", approval, user_actor(user), context))
    return approval


def withdraw(pk: int, user: User, context: Context, *, now: datetime | None = None) -> Approval:
    """Take a request back, which only who asked can. Raises Forbidden, and Conflict where it has been decided."""
    with recording() as record:
        lock()
        now = now or timezone.now()
        approval = _waiting(pk, now)
        if approval.requested_by_id != user.pk:
            raise Forbidden("Only who asked can withdraw a request; another admin can reject it.")
        _decide(approval, Approval.State.WITHDRAWN, user, now)
        record(_event("approval.cancelled", approval, user_actor(user), context, {"reason": "withdrawn"}))
    return approval


def expire_overdue(now: datetime | None = None) -> int:
    """End the requests that waited too long, or were asked for in the future, each with its event; return how many."""
    now = now or timezone.now()
    if not Approval.objects.filter(_overdue(now)).exists():
        return 0
    with recording() as record:
        lock()
        return _expire(record, Approval.objects.all(), now)


def waiting(now: datetime | None = None) -> QuerySet[Approval]:
    """The requests that can still be decided, the oldest first."""
    open_ = Approval.objects.filter(state=Approval.State.WAITING, expires_at__gt=now or timezone.now())
    return open_.select_related("requested_by").order_by("id")


def waiting_for(user: User) -> int:
    """How many requests this admin could decide."""
    return waiting().exclude(requested_by=user).count()


def foresee(approval: Approval) -> str:
    """What whoever decides should know as things are now. Raises Conflict where nobody can approve it any more."""
    _check_asker(approval)
    return _foresights[approval.kind](approval)


def lock() -> None:
    """Let changes of the safeguards and decisions about them come one after the other, until the transaction ends."""
    StoredPreferences.objects.get_or_create(pk=1)
    StoredPreferences.objects.select_for_update().get(pk=1)


def _waiting(pk: int, now: datetime) -> Approval:
    approval = Approval.objects.select_related("requested_by").filter(pk=pk).first()
    if approval is None:
        raise NotFound("There is no such request.")
    if approval.state != Approval.State.WAITING:
        raise Conflict(f"“{approval.title}” has been decided: {approval.get_state_display().lower()}.")
    if approval.expires_at <= now:
        raise Conflict(f"“{approval.title}” waited too long and has expired.", hint="Ask again.")
    return approval


def _check_asker(approval: Approval) -> None:
    if not active_admins().filter(pk=approval.requested_by_id).exists():
        raise Conflict(
            f"{approval.requested_by} asked for this and is no active admin any more.",
            hint="Reject the request; another admin can ask anew.",
        )


def _check_decider(approval: Approval, user: User) -> None:
    if approval.requested_by_id == user.pk:
        raise Forbidden("Another admin has to decide about what you asked for.")
    # The session that carries this request may be older than the account's last change.
    if not active_admins().filter(pk=user.pk).exists():
        raise Forbidden("Only an active admin decides about requests.")


def _decide(approval: Approval, state: Approval.State, user: User | None, now: datetime) -> None:
    approval.state, approval.decided_by, approval.decided_at = state, user, now
    approval.save(update_fields=["state", "decided_by", "decided_at"])


def _overdue(now: datetime) -> Q:
    """Those that waited too long; and those of a clock that was ahead, or is behind now, before they look like any other."""
    ended = Q(expires_at__lte=now) | Q(requested_at__gt=now + _CLOCKS_DIFFER_MAX)
    return Q(state=Approval.State.WAITING) & ended


def _expire(record: Record, requests: QuerySet[Approval], now: datetime) -> int:
    overdue = list(requests.filter(_overdue(now)))
    for approval in overdue:
        _decide(approval, Approval.State.EXPIRED, None, now)
        reason = "expired" if approval.expires_at <= now else "asked_in_the_future"
        record(_event("approval.cancelled", approval, EXPIRY_ACTOR, Context(), {"reason": reason}))
    return len(overdue)


def _event(
    action: str, approval: Approval, actor: Actor, context: Context, said: Mapping[str, Any] | None = None
) -> Event:
    return Event(
        action=action,
        outcome="success",
        actor=actor,
        targets=[reference(approval)],
        context=context,
        metadata={"kind": approval.kind, "requested_by": f"user_{approval.requested_by_id}", **(said or {})},
    )


def reference(approval: Approval) -> Target:
    """The request as a target of events."""
    return Target(type="approval", id=f"approval_{approval.pk}", name=approval.title)
