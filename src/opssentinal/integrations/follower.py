"""The follower: takes one integration a step further along the log.

A step is: make a delivery row of the next events, send it outside of any transaction, and end it in one transaction that
moves the position. If we crash before the send, the row is there and is sent with its own webhook-id; if we crash after it,
the same happens once more, which is what the receiver knows that id for. Nothing is skipped: a delivery that cannot arrive
stops its integration, which says why.

Durable: position, delivery and next attempt are rows. Ordered: one delivery per integration is pending at a time. Concurrent:
a step works under a lease in the row, so that of several back processes one works on an integration; a lease that ran out
during a send is noticed when the result is written, which then is given up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from opssentinal.errors import IntegrityError
from opssentinal.events.model import Actor, Event
from opssentinal.integrations import backoff, batch, deliveries, webhook
from opssentinal.integrations.models import Delivery, Integration
from opssentinal.integrations.services import target_of
from opssentinal.ledger.reader import head
from opssentinal.ledger.recording import recording

ACTOR = Actor(type="system", id="integrations", name="Integrations")
LEASE = timedelta(seconds=60)
# A step may take as long as the longest request; a lease with less left than this is renewed before one begins.
_LEASE_LEFT_MIN = timedelta(seconds=2 * webhook.TIMEOUT_S)

_log = logging.getLogger(__name__)


class Follower:
    """Steps on behalf of `owner`, the name of this back process that stays the same when it starts again."""

    def __init__(self, owner: str, clock: Callable[[], datetime] = timezone.now) -> None:
        self._owner = owner
        self._clock = clock

    def due(self) -> list[int]:
        """The primary keys of integrations that have something to do now."""
        rows = self._available().filter(position__lt=head().size)
        return list(rows.order_by("pk").values_list("pk", flat=True))

    def step(self, pk: int) -> bool:
        """Send at most one delivery; return whether there may be more to do at once.

        What a receiver does wrong is written into the rows. Raises IntegrityError where the ledger itself is damaged.
        """
        integration = self._claimed(pk)
        if integration is None:
            return False
        if integration.position < head().minimum_index:
            return self._pause_for_gap(integration)
        try:
            delivery = deliveries.pending(integration)
            if delivery is None:
                made = batch.next_batch(integration.position, integration.filter, integration.batch_events_max)
                if not made.seqs:
                    return self._pass_over(integration, made.end_seq)
                delivery = self._begin(integration, made)
                if delivery is None:
                    return True  # changed meanwhile: look again
            body = batch.payload(integration.public_id, delivery.seqs, delivery.created_at)
        except batch.EventsGone:
            return self._pause_for_gap(integration)
        outcome = webhook.attempt(integration, delivery.webhook_id, body, self._clock())
        return self._settle(integration, delivery, outcome)

    def release(self) -> None:
        """Let others take over at once what this process worked on."""
        with transaction.atomic():
            Integration.objects.filter(lease_owner=self._owner).update(lease_owner="", lease_until=None)

    def _available(self) -> Any:
        now = self._clock()
        return Integration.objects.filter(
            # No attempt waits for longer than that, no lease lasts as long: it was set by a clock that was ahead.
            Q(next_attempt_at=None) | Q(next_attempt_at__lte=now) | Q(next_attempt_at__gt=now + backoff.GIVES_UP_AFTER),
            Q(lease_until=None)
            | Q(lease_until__lt=now)
            | Q(lease_until__gt=now + backoff.GIVES_UP_AFTER)
            | Q(lease_owner=self._owner),
            paused_at=None,
        )

    def _claimed(self, pk: int) -> Integration | None:
        """The integration with a lease of ours that lasts for a step; None where it is not to be worked on."""
        now = self._clock()
        integration = self._available().filter(pk=pk).first()
        if integration is None:
            return None
        is_ours = integration.lease_owner == self._owner and integration.lease_until is not None
        if is_ours and integration.lease_until - now >= _LEASE_LEFT_MIN:
            return integration
        with transaction.atomic():
            # Decided by the database: of two processes that try at once, one changes the row.
            if not self._available().filter(pk=pk).update(lease_owner=self._owner, lease_until=now + LEASE):
                return None
            return Integration.objects.get(pk=pk)

    def _locked(self, integration: Integration) -> Integration | None:
        """The row as it is now, locked; None where it is deleted or another process has taken it over."""
        return Integration.objects.select_for_update().filter(pk=integration.pk, lease_owner=self._owner).first()

    def _unchanged(self, integration: Integration) -> Integration | None:
        """The locked row, if what a look into the log depends on is as it was when the look began."""
        locked = self._locked(integration)
        if locked is None or locked.is_paused:
            return None
        is_same = (locked.position, locked.query) == (integration.position, integration.query)
        return locked if is_same else None

    def _pass_over(self, integration: Integration, end_seq: int) -> bool:
        """Move the position past events that the query does not mean."""
        if end_seq == integration.position:
            return False
        with transaction.atomic():
            if (locked := self._unchanged(integration)) is not None:
                locked.position = end_seq
                locked.save(update_fields=["position"])
        return True

    def _begin(self, integration: Integration, made: batch.Batch) -> Delivery | None:
        with transaction.atomic():
            locked = self._unchanged(integration)
            if locked is None:
                return None
            return Delivery.objects.create(
                integration=locked,
                webhook_id=deliveries.make_webhook_id(),
                first_seq=locked.position,
                end_seq=made.end_seq,
                seqs=made.seqs,
                created_at=self._clock(),
            )

    def _settle(self, integration: Integration, delivery: Delivery, outcome: webhook.Outcome) -> bool:
        """Write what became of an attempt; return whether to go on."""
        now = self._clock()
        with recording() as record:
            locked = self._locked(integration)
            current = Delivery.objects.filter(pk=delivery.pk, status=Delivery.Status.PENDING).first()
            if locked is None or current is None:
                # Deleted, replayed or taken over during the send: that attempt does not count.
                return locked is not None
            deliveries.note(current, outcome, now)
            if not outcome.error:
                _arrived(locked, current, now)
            else:
                _failed(locked, current, outcome, now, record)
            current.save()
            locked.save()
        return not outcome.error and not locked.is_paused

    def _pause_for_gap(self, integration: Integration) -> bool:
        """Stop where events that are still to be sent have lost their text, and say how many."""
        first = head().minimum_index
        if first <= integration.position:
            raise IntegrityError(
                f"Events from {integration.position} on have no text, though nothing was pruned there.",
                hint="Run opssentinal fsck.",
            )
        with recording() as record:
            locked = self._unchanged(integration)
            if locked is not None:
                missed = first - locked.position
                events = "event is" if missed == 1 else "events are"
                reason = (
                    f"{missed:,} {events} gone: retention pruned them before they were sent (events {locked.position:,} to "
                    f"{first - 1:,})."
                )
                pause(locked, Integration.Pause.GAP, reason, self._clock(), record)
                locked.save()
        return False


def pause(
    integration: Integration, code: str, reason: str, now: datetime, record: Callable[[Event], None], **more: object
) -> None:
    """Pause on the product's own account: fields and event, within the caller's recording(); saving is the caller's too."""
    _log.warning("The integration %s is paused: %s", integration.public_id, reason)
    integration.paused_at, integration.paused_code, integration.paused_reason = now, code, reason
    integration.next_attempt_at = None
    record(
        Event(
            action="integration.paused",
            outcome="success",
            actor=ACTOR,
            targets=[target_of(integration)],
            metadata={"reason": reason, "code": str(code), "position": integration.position, **more},
        )
    )


def _arrived(integration: Integration, delivery: Delivery, now: datetime) -> None:
    delivery.status, delivery.finished_at = Delivery.Status.DELIVERED, now
    integration.position = delivery.end_seq
    integration.last_delivered_at = now
    integration.failing_since = integration.next_attempt_at = None


def _failed(
    integration: Integration,
    delivery: Delivery,
    outcome: webhook.Outcome,
    now: datetime,
    record: Callable[[Event], None],
) -> None:
    integration.failing_since = min(integration.failing_since or now, now)  # a clock that was ahead made no day longer
    integration.next_attempt_at = None
    if integration.is_paused:
        return  # by an admin, during the send; resuming tries again at once
    if not outcome.pause:
        integration.next_attempt_at = backoff.next_attempt(
            delivery.attempts, integration.failing_since, now, retry_after=outcome.retry_after
        )
        if integration.next_attempt_at is not None:
            return
    code = outcome.pause or Integration.Pause.FAILING
    reason = outcome.error
    if code == Integration.Pause.FAILING:
        reason = f"Tried for 24 hours, {delivery.attempts} times; the last time: {outcome.error}"
    pause(integration, code, reason, now, record, attempts=delivery.attempts)
