"""The test button: one real request to a webhook, with an invented event, shown and recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from django.utils import timezone

from opssentinal.events.model import Actor, Context, Event, RecordedEvent
from opssentinal.integrations import batch, deliveries, webhook
from opssentinal.integrations.models import Delivery, Integration
from opssentinal.integrations.services import find, target_of
from opssentinal.ledger.recording import recording

PAYLOAD_TYPE = "audit_log.test"


def send_test(public_id: str, actor: Actor, context: Context) -> Delivery:
    """Send a test to a webhook, also to a paused one, and record integration.tested; return what came of it.

    The test is no event of the log and moves no position. Raises NotFound.
    """
    integration = find(public_id)
    now = timezone.now()
    delivery = Delivery(
        integration=integration,
        webhook_id=deliveries.make_webhook_id(),
        kind=Delivery.Kind.TEST,
        first_seq=integration.position,
        end_seq=integration.position,
        created_at=now,
    )
    body = batch.body_of(PAYLOAD_TYPE, integration.public_id, [_example(integration, now)], now)
    outcome = webhook.attempt(integration, delivery.webhook_id, body, now)
    deliveries.note(delivery, outcome, now)
    delivery.status = Delivery.Status.FAILED if outcome.error else Delivery.Status.DELIVERED
    delivery.finished_at = timezone.now()
    said = {"status": outcome.status_code, "latency_ms": outcome.latency_ms, "error": outcome.error}
    with recording() as record:
        find(public_id)  # deleted meanwhile: then there is nothing to keep it with
        delivery.save(force_insert=True)
        record(
            Event(
                action="integration.tested",
                outcome="failure" if outcome.error else "success",
                actor=actor,
                targets=[target_of(integration)],
                context=context,
                metadata={name: value for name, value in said.items() if value not in (None, "")},
            )
        )
    return delivery


def _example(integration: Integration, now: datetime) -> RecordedEvent:
    return RecordedEvent(
        id=uuid4(), seq=integration.position, action="integration.tested", outcome="success", occurred_at=now.astimezone(UTC),
        recorded_at=now.astimezone(UTC), actor=Actor(type="system", id="integrations", name="Integrations"),
        targets=[target_of(integration)], context=Context(), changes=[], metadata={"test": True},
        message="This is a test. It is no event of the log.", source="opssentinal", tenant=None,
    )  # fmt: skip
