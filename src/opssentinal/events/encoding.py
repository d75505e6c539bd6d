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


class EncodedEvents(NamedTuple):
    """Events of one commit in columns, a line each: the three that are stored, and the entries, which the tree hashes."""

    heads: list[bytes]
    whos: list[bytes]
    whats: list[bytes]
    entries: list[bytes]


_base64 = partial(b2a_base64, newline=False)
_encode_lines = msgspec.json.Encoder().encode_lines
_decode_head = msgspec.json.Decoder(_HeadRead).decode
_decode_who = msgspec.json.Decoder(_Who).decode
_decode_what = msgspec.json.Decoder(_What).decode


def encode_events(events: Sequence[Event], recorded_at_us: int) -> EncodedEvents:
    """Encode validated events of one commit, in order.

    `recorded_at_us` is the commit's time in µs since the epoch. Every event must have its `source`; an absent id becomes a
    UUIDv7 of this time (RFC 9562, Section 5.7), an absent `occurred_at` this time.
    """
    recorded_at = from_us(recorded_at_us)
    random = os.urandom(2 * 16 * len(events)).hex()
    nonces = iter([random[at : at + 32] for at in range(0, len(random), 32)])
    new_ids = iter(_uuid7s(sum(event.id is None for event in events), recorded_at_us))
    heads, whos, whats = [], [], []
    for event in events:
        if event.source is None:
            raise ValueError("an event reaches the ledger with its source")
        heads.append(
            _Head(
                ENTRY_VERSION, event.id or next(new_ids), recorded_at, event.occurred_at or recorded_at,
                event.action, event.outcome, event.source, event.tenant,
            )
        )  # fmt: skip
        whos.append(_Who(next(nonces), event.actor, event.context))
        whats.append(_What(next(nonces), event.targets, event.changes, event.metadata, event.message))
    # One call for each column: a call per event costs as much as the encoding itself.
    head_lines, who_lines, what_lines = (_encode_lines(parts).splitlines() for parts in (heads, whos, whats))
    head_lines = [line[:-1] for line in head_lines]
    digests = [[_base64(sha256(line).digest()) for line in lines] for lines in (who_lines, what_lines)]
    entries = list(map(entry_of, head_lines, *digests))
    return EncodedEvents(head_lines, who_lines, what_lines, entries)


def _uuid7s(count: int, time_us: int) -> list[str]:
    time_hex = f"{time_us // 1000:012x}"
    prefix = f"{time_hex[:8]}-{time_hex[8:]}-7"
    random = os.urandom(10 * count).hex() if count else ""
    parts = [random[at : at + 20] for at in range(0, len(random), 20)]
    return [f"{prefix}{r[:3]}-{'89ab'[int(r[3], 16) & 3]}{r[4:7]}-{r[7:19]}" for r in parts]


def digest_of(part: bytes) -> bytes:
    """The base64 SHA-256 of a who or what line; of an erased part, whose line is its digest, the line itself."""
    return part if is_erased(part) else _base64(sha256(part).digest())


def is_erased(part: bytes) -> bool:
    """Whether a who or what line has been replaced by its digest (a part with text is a JSON object)."""
    return not part.startswith(b"{")


def entry_of(head: bytes, who_digest: bytes, what_digest: bytes) -> bytes:
    """The entry's canonical bytes from its head and the base64 digests of its parts."""
    return b'%b,"who":"%b","what":"%b"}' % (head, who_digest, what_digest)


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
