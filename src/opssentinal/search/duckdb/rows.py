"""Rows of the index → RecordedEvents, without asking the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from opssentinal.events.model import Actor, Change, Context, RecordedEvent, Target, from_us
from opssentinal.search.duckdb.schema import AGENT_EMPTY, EVENT_COLUMNS, MESSAGE_EMPTY, WHAT_ERASED, WHO_ERASED

# Everything but what was made for filtering.
COLUMNS: Final = tuple(
    name for name in EVENT_COLUMNS if not name.endswith("_h") and name not in ("segment", "ip_hi", "ip_lo", "folded")
)
SELECTED: Final = ", ".join("id::VARCHAR" if name == "id" else name for name in COLUMNS)

_context_rest = msgspec.json.Decoder(tuple[list[str] | None, str | None]).decode
_targets = msgspec.json.Decoder(list[tuple[str, str, str | None, str | None]]).decode
_changes = msgspec.json.Decoder(list[tuple[str, Any, Any]]).decode
_metadata = msgspec.json.Decoder(dict[str, Any]).decode


def event_of(row: Sequence[Any]) -> RecordedEvent:
    """The event of a row of SELECTED."""
    (
        seq, occurred_us, recorded_us, id_, action, outcome, source, tenant,
        actor_type, actor_id, actor_name, actor_email, ip, user_agent, session_id, request_id, context_rest,
        target_type, target_id, target_name, target_email, more_targets, changes, metadata, message, marks,
    ) = row  # fmt: skip
    erased: list[Literal["who", "what"]] = []
    if marks & WHO_ERASED:
        erased.append("who")
    if marks & WHAT_ERASED:
        erased.append("what")
    forwarded_for, api_key = _context_rest(context_rest) if context_rest else (None, None)
    targets = [Target(target_type, target_id, target_name or None, target_email or None)] if target_type else []
    if more_targets:
        targets += [Target(*target) for target in _targets(more_targets)]
    return RecordedEvent(
        id=UUID(id_),
        seq=seq,
        action=action,
        outcome=outcome,
        occurred_at=from_us(occurred_us),
        recorded_at=from_us(recorded_us),
        actor=None if marks & WHO_ERASED else Actor(actor_type, actor_id, actor_name or None, actor_email or None),
        targets=targets,
        context=Context(
            ip=ip or None,
            user_agent=user_agent or ("" if marks & AGENT_EMPTY else None),
            session_id=session_id or None,
            request_id=request_id or None,
            forwarded_for=forwarded_for,
            api_key=api_key,
        ),
        changes=[Change(*change) for change in _changes(changes)] if changes else [],
        metadata=_metadata(metadata) if metadata else {},
        message=message or ("" if marks & MESSAGE_EMPTY else None),
        source=source,
        tenant=tenant or None,
        erased=erased,
    )
