"""Event ⇄ the three strings the ledger keeps: entry, who and what. The bytes are docs/spec/entry.md.

An entry holds no personal data and only the digests of its two parts, so a part can be erased while every hash above it
stays true. Each part carries 128 random bits, so that nobody can guess an erased text from its digest.
"""

from __future__ import annotations

import os
from binascii import b2a_base64
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from opssentinal.events.model import Actor, Change, Context, Event, RecordedEvent, Target, from_us

ENTRY_VERSION = 1
_WHO = b',"who":"'
_WHAT = b'","what":"'
_END = b'"}'


class _Head(msgspec.Struct, gc=False):
    v: int
    id: str | UUID
    recorded_at: datetime
    occurred_at: datetime
    action: str
    outcome: str
    source: str
    tenant: str | None


class _Who(msgspec.Struct, gc=False):
    nonce: str
    actor: Actor
    context: Context


class _What(msgspec.Struct, gc=False):
    nonce: str
    targets: list[Target]
    changes: list[Change]
    metadata: dict[str, Any]
    message: str | None


class _HeadRead(msgspec.Struct, gc=False):
    v: Literal[1]
    id: UUID
    recorded_at: datetime
    occurred_at: datetime
    action: str
    outcome: str
    source: str
    tenant: str | None = None


class EncodedEvent(NamedTuple):
    """One event as stored: `head` is the entry up to its digests; `who` and `what` are whole lines without newline."""

    head: bytes
    who: bytes
    what: bytes

    @property
    def entry(self) -> bytes:
        """The canonical bytes, whose hash is the leaf of the tree."""
        return entry_of(self.head, digest_of(self.who), digest_of(self.what))


_base64 = partial(b2a_base64, newline=False)
_encode_lines = msgspec.json.Encoder().encode_lines
_decode_head = msgspec.json.Decoder(_HeadRead).decode
_decode_who = msgspec.json.Decoder(_Who).decode
_decode_what = msgspec.json.Decoder(_What).decode


def encode_events(events: Sequence[Event], recorded_at_us: int) -> tuple[list[EncodedEvent], list[bytes]]:
    """Encode validated events of one commit; return them and their entries, in order.

    `recorded_at_us` is the commit's time in µs since the epoch. Every event must have its `source`; an absent id becomes a
    UUIDv7 of this time (RFC 9562, Section 5.7), an absent `occurred_at` this time.
    """
    recorded_at = from_us(recorded_at_us)
    random = os.urandom(48 * len(events)).hex()
    time_hex = f"{recorded_at_us // 1000:012x}"
    id_prefix = f"{time_hex[:8]}-{time_hex[8:]}-7"
    heads, whos, whats = [], [], []
    for at, event in enumerate(events):
        r = random[96 * at : 96 * at + 96]
        id_ = event.id or f"{id_prefix}{r[64:67]}-{'89ab'[int(r[67], 16) & 3]}{r[68:71]}-{r[71:83]}"
        if event.source is None:
            raise ValueError("an event reaches the ledger with its source")
        heads.append(
            _Head(
                ENTRY_VERSION, id_, recorded_at, event.occurred_at or recorded_at,
                event.action, event.outcome, event.source, event.tenant,
            )
        )  # fmt: skip
        whos.append(_Who(r[:32], event.actor, event.context))
        whats.append(_What(r[32:64], event.targets, event.changes, event.metadata, event.message))
    # One call for each column: a call per event costs as much as the encoding itself.
    head_lines, who_lines, what_lines = (_encode_lines(parts).splitlines() for parts in (heads, whos, whats))
    encoded, entries = [], []
    for head, who, what in zip(head_lines, who_lines, what_lines, strict=True):
        head = head[:-1]
        encoded.append(EncodedEvent(head, who, what))
        entries.append(entry_of(head, _base64(sha256(who).digest()), _base64(sha256(what).digest())))
    return encoded, entries


def digest_of(part: bytes) -> bytes:
    """The base64 SHA-256 of a who or what line; of an erased part, whose line is its digest, the line itself."""
    return part if is_erased(part) else _base64(sha256(part).digest())


def is_erased(part: bytes) -> bool:
    """Whether a who or what line has been replaced by its digest (a part with text is a JSON object)."""
    return not part.startswith(b"{")


def entry_of(head: bytes, who_digest: bytes, what_digest: bytes) -> bytes:
    """The entry's canonical bytes from its head and the base64 digests of its parts."""
    return head + _WHO + who_digest + _WHAT + what_digest + _END


def decode_recorded(seq: int, head: bytes, who: bytes, what: bytes) -> RecordedEvent:
    """The event at `seq` from its three stored lines. Raises msgspec.MsgspecError where a line is not ours."""
    top = _decode_head(head + b"}")
    erased: list[Literal["who", "what"]] = []
    actor, context = None, Context()
    if is_erased(who):
        erased.append("who")
    else:
        said = _decode_who(who)
        actor, context = said.actor, said.context
    targets: list[Target] = []
    changes: list[Change] = []
    metadata: dict[str, Any] = {}
    message = None
    if is_erased(what):
        erased.append("what")
    else:
        done = _decode_what(what)
        targets, changes, metadata, message = done.targets, done.changes, done.metadata, done.message
    return RecordedEvent(
        id=top.id, seq=seq, action=top.action, outcome=top.outcome, occurred_at=top.occurred_at,
        recorded_at=top.recorded_at, actor=actor, targets=targets, context=context, changes=changes,
        metadata=metadata, message=message, source=top.source, tenant=top.tenant, erased=erased,
    )  # fmt: skip
