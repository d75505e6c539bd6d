"""The event: what callers send, and what the log gives back. Its shape is docs/spec/event.md.

msgspec Structs rather than pydantic models, because every event passes here on the hot path; limits stand in the types,
so the JSON schema of the API is made from the very definitions that decode.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

EVENT_BYTES_MAX = 65_536
TARGETS_MAX = 10
CHANGES_MAX = 100
DEPTH_MAX = 16

# noun.verb, namespaced a.b.c allowed; `logout` is the one action of the catalogue that is a single word.
# `(?!\n)`: Python's `$` also matches before a last newline.
ACTION_PATTERN = r"^(logout|[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+)$(?!\n)"
SOURCE_PATTERN = r"^[a-z0-9][a-z0-9._-]*$(?!\n)"
OUTCOMES = ("success", "failure", "denied", "unknown")

Outcome = Literal["success", "failure", "denied", "unknown"]
# The pattern of an action is checked by `decoding.validate`.
Action = Annotated[
    str,
    Meta(max_length=128, extra_json_schema={"pattern": ACTION_PATTERN}, description="noun.verb, in lower case"),
]
Source = Annotated[str, Meta(max_length=64, pattern=SOURCE_PATTERN, description="the program that sent the event")]
Tenant = Annotated[str, Meta(min_length=1, max_length=128, description="whose log this event belongs to")]
Kind = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Email = Annotated[str, Meta(min_length=1, max_length=320)]
Instant = Annotated[datetime, Meta(tz=True)]


class Actor(Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, gc=False):
    """Who did it. Names are snapshots: renaming or deleting the account later changes nothing here."""

    type: Kind
    id: Name
    name: Name | None = None
    email: Email | None = None


class Target(Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, gc=False):
    """What it was done to."""

    type: Kind
    id: Name
    name: Name | None = None
    email: Email | None = None


class Context(Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, gc=False):
    """Where it came from. `ip` is canonical as `ipaddress` writes it; `forwarded_for` is the chain as received.

    `api_key` is the public id of the key that sent the event; the server sets it and callers may not.
    """

    ip: Annotated[str, Meta(max_length=64)] | None = None
    user_agent: Annotated[str, Meta(max_length=2048)] | None = None
    session_id: Name | None = None
    request_id: Name | None = None
    forwarded_for: Annotated[list[Annotated[str, Meta(max_length=128)]], Meta(max_length=16)] | None = None
    api_key: Annotated[str, Meta(max_length=64)] | None = None


class Change(Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, gc=False):
    """One field before and after. Values are any JSON; an absent side is null."""

    field: Name
    before: Any = None
    after: Any = None


class Event(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """An event as submitted. `id` and `occurred_at` are the caller's; what is absent the log fills in."""

    action: Action
    actor: Actor
    id: UUID | None = None
    outcome: Outcome = "unknown"
    occurred_at: Instant | None = None
    targets: Annotated[list[Target], Meta(max_length=TARGETS_MAX)] = []
    context: Context = Context()
    changes: Annotated[list[Change], Meta(max_length=CHANGES_MAX)] = []
    metadata: dict[str, Any] = {}
    message: Annotated[str, Meta(max_length=4096)] | None = None
    source: Source | None = None
    tenant: Tenant | None = None


class RecordedEvent(Struct, kw_only=True, gc=False):
    """An event as the log holds it: everything submitted, its place `seq` and the two times.

    `occurred_at` is the caller's clock, `recorded_at` the log's; both are UTC. An erased or pruned part reads as its
    empty value, and is named in `erased`.
    """

    id: UUID
    seq: int
    action: str
    outcome: str
    occurred_at: datetime
    recorded_at: datetime
    actor: Actor | None
    targets: list[Target]
    context: Context
    changes: list[Change]
    metadata: dict[str, Any]
    message: str | None
    source: str
    tenant: str | None
    erased: list[Literal["who", "what"]] = []


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(instant: datetime) -> int:
    """Microseconds since the epoch of an aware datetime, exactly (a float would lose them)."""
    return (instant - EPOCH) // _MICROSECOND


def rfc3339(instant: datetime) -> str:
    """The aware datetime as events, the API and pages write it to programs: in UTC with Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def from_us(us: int) -> datetime:
    """The UTC datetime of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=us)
