"""What happens to delivery rows over time: listed, withdrawn, and one day deleted."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from opssentinal.integrations.models import Delivery, Integration
from opssentinal.integrations.webhook import Outcome
from opssentinal.workspace.preferences import preferences

_AT_ONCE = 1_000


def make_webhook_id() -> str:
    """A new id for a delivery; receivers tell by it that they have had one already. It holds no full stop."""
    return f"msg_{secrets.token_hex(16)}"


def pending(integration: Integration) -> Delivery | None:
    """The delivery that has not arrived yet."""
    return Delivery.objects.filter(integration=integration, status=Delivery.Status.PENDING).first()


def note(delivery: Delivery, outcome: Outcome, now: datetime) -> None:
    """Write into the row, without saving it, what became of an attempt at `now`."""
    delivery.attempts += 1
    delivery.attempted_at = now
    delivery.status_code, delivery.latency_ms = outcome.status_code, outcome.latency_ms
    delivery.response, delivery.error = outcome.response, outcome.error


def withdraw(integration: Integration, now: datetime) -> None:
    """Give up what is on its way, since the integration goes on from elsewhere or with another query."""
    Delivery.objects.filter(integration=integration, status=Delivery.Status.PENDING).update(
        status=Delivery.Status.WITHDRAWN, finished_at=now
    )


def old(now: datetime) -> Any:
    """The deliveries that ended longer ago than the workspace keeps them."""
    return Delivery.objects.filter(finished_at__lt=now - timedelta(days=preferences().cleanup_deliveries_days))


def delete_old(now: datetime) -> int:
    """Delete those, some at a time, so that nobody waits long; return how many."""
    deleted = 0
    while keys := list(old(now).values_list("pk", flat=True)[:_AT_ONCE]):
        with transaction.atomic():
            Delivery.objects.filter(pk__in=keys).delete()
        deleted += len(keys)
    return deleted
