"""What admins do now and then: each of the rarer types of the catalogue, with the particulars of its example."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from opssentinal.events.catalogue import EVENT_TYPES
from opssentinal.events.model import Change, Target

RARE = (
    "user.reactivated",
    "user.link_issued",
    "oidc.tested",
    "integration.updated",
    "integration.tested",
    "integration.paused",
    "integration.replayed",
    "email.tested",
    "retention.change_scheduled",
    "retention.change_cancelled",
    "retention.clock_confirmed",
    "legal_hold.placed",
    "legal_hold.released",
    "approval.requested",
    "approval.granted",
    "approval.rejected",
    "approval.cancelled",
    "incident.created",
    "incident.updated",
)  # fmt: skip


def rare_doings(rng: Random, since: datetime) -> Iterator[tuple[datetime, str, list[Target], dict[str, Any]]]:
    """Each of RARE once in the hours after `since`, in their order: when, what, to what, and the rest of the event."""
    at = since
    for action in RARE:
        at += timedelta(minutes=rng.uniform(2, 20))
        shown = EVENT_TYPES[action].example
        more: dict[str, Any] = {name: shown[name] for name in ("metadata",) if name in shown}
        if "changes" in shown:
            more["changes"] = msgspec.convert(shown["changes"], list[Change])
        yield at, action, msgspec.convert(shown.get("targets", []), list[Target]), more
