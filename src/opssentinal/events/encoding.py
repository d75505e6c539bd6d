"""Event ⇄ the three strings the ledger keeps: entry, who and what. The bytes are docs/spec/entry.md.

An entry holds no personal data and only the digests of its two parts, so a part can be erased while every hash above it
stays true. Each part carries 128 random bits, so that nobody can guess an erased text from its digest.
"""

from __future__ import annotations

import os
from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from hashlib import sha256
from itertools import chain, groupby, repeat
from operator import add
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from opssentinal.events.model import Actor, Change, Context, Event, Outcome, RecordedEvent, Target, from_us

ENTRY_VERSION = 1
_DIGESTS = b',"who":"%b","what":"%b"}'


class _Tail(msgspec.Struct, gc=False):
    action: str
    outcome: Outcome
    source: str
    tenant: str | None


class _TimedTail(_Tail, gc=False):
    occurred_at: datetime | None = None


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


class Completed(NamedTuple):
    """Events with what their commit gave them, a line each: their ids, the stored heads, and the entries, which the tree hashes."""

    ids: list[bytes]
    heads: list[bytes]
    entries: list[bytes]


_base64 = partial(b2a_base64, newline=False)
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_decode_head = msgspec.json.Decoder(_HeadRead).decode
_decode_tail = msgspec.json.Decoder(_TimedTail).decode
_decode_who = msgspec.json.Decoder(_Who).decode
_decode_what = msgspec.json.Decoder(_What).decode


@dataclass(frozen=True, slots=True)
class Drafts:
    """Validated events in order, encoded but for what only their commit knows: its time, and ids for those without.

    Columns of text, a line per event, so that few and long strings go from process to process, into the compressor and into
    the database as they are. `sources` holds runs, each a source and how many events in a row are its. An event without an id
    has an empty line in `ids`. `tails` end the heads; `digests` follow them in the entries.
    """

    count: int
    sources: tuple[tuple[str, int], ...]
    ids: bytes
    tails: bytes
    whos: bytes
    whats: bytes
    digests: bytes

    def __len__(self) -> int:
        return self.count

    def keys(self) -> list[tuple[str, UUID | None]]:
        """Source and id of each event; None where it brought none."""
        sources = chain.from_iterable(repeat(source, count) for source, count in self.sources)
        ids = (UUID(id_.decode()) if id_ else None for id_ in self._lines(self.ids))
        return list(zip(sources, ids, strict=True))

    def only(self, places: Sequence[int]) -> Drafts:
        """Those at these places, in this order."""
        sources = [source for source, _ in self.keys()]
        runs = tuple((source, len(list(run))) for source, run in groupby(sources[at] for at in places))
        lines = map(self._lines, (self.ids, self.tails, self.whos, self.whats, self.digests))
        return Drafts(len(places), runs, *(b"\n".join([column[at] for at in places]) for column in lines))

    def events(self) -> list[Event]:
        """The events, decoded again."""
        columns = map(self._lines, (self.tails, self.whos, self.whats))
        return [_event(id_, *lines) for (_, id_), *lines in zip(self.keys(), *columns, strict=True)]

    def complete(self, recorded_at_us: int, occurred_at_us: int | None = None) -> Completed:
        """The events of one commit at this time (µs since the epoch).

        An absent id becomes a UUIDv7 of this time (RFC 9562, Section 5.7), an absent `occurred_at` the time `occurred_at_us`,
        or this one where none is given.
        """
        recorded_at = _encode(from_us(recorded_at_us))
        ids, tails = self._lines(self.ids), self._lines(self.tails)
        if missing := ids.count(b""):
            new_ids = iter(_uuid7s(missing, recorded_at_us))
            ids = [id_ or next(new_ids) for id_ in ids]
        occurred_at = recorded_at if occurred_at_us is None else _encode(from_us(occurred_at_us))
        timed = b'"occurred_at":%b,' % occurred_at
        tails = [tail if tail.startswith(_TIMED) else timed + tail for tail in tails]
        head = b'{"v":%d,"id":"%%b","recorded_at":%b,%%b' % (ENTRY_VERSION, recorded_at)
        heads = list(map(head.__mod__, zip(ids, tails, strict=True)))
        return Completed(ids, heads, list(map(add, heads, self._lines(self.digests))))

    def _lines(self, column: bytes) -> list[bytes]:
        return column.split(b"\n") if self.count else []


_TIMED = b'"occurred_at":'
_NONE = Drafts(0, (), b"", b"", b"", b"", b"")


def draft(events: Sequence[Event]) -> Drafts:
    """Encode validated events, in order, each with its `source`."""
    if not events:
        return _NONE
    if any(event.source is None for event in events):
        raise ValueError("an event reaches the ledger with its source")
    random = os.urandom(2 * 16 * len(events)).hex()
    nonces = iter([random[at : at + 32] for at in range(0, len(random), 32)])
    # One call for each column: a call per event costs as much as the encoding itself.
    times = _encode_lines([event.occurred_at for event in events]).splitlines()
    whos = _encode_lines([_Who(next(nonces), event.actor, event.context) for event in events])[:-1]
    whats = _encode_lines(
        [_What(next(nonces), event.targets, event.changes, event.metadata, event.message) for event in events]
    )[:-1]
    digests = ([_base64(sha256(line).digest()) for line in lines.split(b"\n")] for lines in (whos, whats))
    return Drafts(
        len(events),
        tuple((source, len(list(run))) for source, run in groupby(event.source or "" for event in events)),
        _encode_lines([event.id for event in events])[:-1].replace(b"null", b"").replace(b'"', b""),
        b"\n".join(
            [
                (_TIMED + time + b"," if event.occurred_at else b"")
                + _tail(event.action, event.outcome, event.source or "", event.tenant)
                for time, event in zip(times, events, strict=True)
            ]
        ),
        whos,
        whats,
        b"\n".join(map(_DIGESTS.__mod__, zip(*digests, strict=True))),
    )


@lru_cache(maxsize=4_096)
def _tail(action: str, outcome: Outcome, source: str, tenant: str | None) -> bytes:
    # The same few come again and again.
    return _encode(_Tail(action, outcome, source, tenant))[1:-1]


def joined(parts: Sequence[Drafts]) -> Drafts:
    """The drafts of all parts, in order."""
    parts = [part for part in parts if part.count]
    if len(parts) < 2:
        return parts[0] if parts else _NONE
    return Drafts(
        sum(part.count for part in parts),
        tuple(chain.from_iterable(part.sources for part in parts)),
        *(b"\n".join([getattr(part, name) for part in parts]) for name in ("ids", "tails", "whos", "whats", "digests")),
    )


def _event(id_: UUID | None, tail: bytes, who: bytes, what: bytes) -> Event:
    top, said, done = _decode_tail(b"{%b}" % tail), _decode_who(who), _decode_what(what)
    return Event(
        id=id_, occurred_at=top.occurred_at, action=top.action, outcome=top.outcome,
        source=top.source, tenant=top.tenant, actor=said.actor, context=said.context,
        targets=done.targets, changes=done.changes, metadata=done.metadata, message=done.message,
    )  # fmt: skip


def _uuid7s(count: int, time_us: int) -> list[bytes]:
    time_hex = f"{time_us // 1000:012x}"
    prefix = f"{time_hex[:8]}-{time_hex[8:]}-7"
    random = os.urandom(10 * count).hex()
    parts = [random[at : at + 20] for at in range(0, len(random), 20)]
    return [f"{prefix}{r[:3]}-{'89ab'[int(r[3], 16) & 3]}{r[4:7]}-{r[7:19]}".encode() for r in parts]


def digest_of(part: bytes) -> bytes:
    """The base64 SHA-256 of a who or what line; of an erased part, whose line is its digest, the line itself."""
    return part if is_erased(part) else _base64(sha256(part).digest())


def is_erased(part: bytes) -> bool:
    """Whether a who or what line has been replaced by its digest (a part with text is a JSON object)."""
    return not part.startswith(b"{")


def entry_of(head: bytes, who_digest: bytes, what_digest: bytes) -> bytes:
    """The entry's canonical bytes from its head and the base64 digests of its parts."""
    return head + _DIGESTS % (who_digest, what_digest)


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
