"""Synthetic events of about 450 bytes, alike for everything that is measured."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

PEOPLE = 500
POOL = 20_000
_ACTIONS = (
    ("login.success", "success", 30),
    ("incident.viewed", "success", 30),
    ("login.failure", "failure", 6),
    ("logout", "success", 12),
    ("export.downloaded", "success", 2),
    ("user.updated", "success", 8),
    ("settings.updated", "success", 3),
    ("user.role_changed", "success", 2),
    ("api_key.created", "success", 1),
    ("billing.invoice.paid", "success", 6),
)
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/604.1",
    "okhttp/4.12.0",
)


def synthetic_events(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield events without id and time."""
    chance = random.Random(seed)
    weights = [weight for _, _, weight in _ACTIONS]
    for n in range(count):
        action, outcome, _ = chance.choices(_ACTIONS, weights)[0]
        person = int(PEOPLE * chance.random() ** 2)
        target = chance.randrange(20_000)
        yield {
            "action": action,
            "outcome": outcome if chance.random() > 0.01 else "denied",
            "actor": {
                "type": "user", "id": f"usr_{person}", "name": f"Person {person}", "email": f"person{person}@example.com",
            },
            "targets": [{"type": "incident", "id": f"incident_{target}", "name": f"Incident {target}"}],
            "context": {"ip": f"203.0.{person % 113}.{person % 250}", "user_agent": chance.choice(_AGENTS)},
            "metadata": {"n": n},
        }  # fmt: skip


# What an event begins with: 30 hexadecimal digits of an id and 20 decimal ones of a time are written over the zeros.
_HEAD = b'{"id":"00000000-0000-7000-8000-000000000000","occurred_at":"0000-00-00T00:00:00.000000Z",'
_DIGITS = np.flatnonzero(np.frombuffer(_HEAD, np.uint8) == ord("0"))
# Two digits each: of the bytes 0 to 255, then of the numbers 0 to 99.
_PAIRS = np.array([b"%02x" % byte for byte in range(256)] + [b"%02d" % number for number in range(100)])


class Body(NamedTuple):
    """A request's body: a JSON array of events."""

    json: bytes

    def events(self) -> list[dict[str, Any]]:
        """The events in it."""
        return list(json.loads(self.json))


class Corpus(NamedTuple):
    """Kinds of events that are sent over and over, each time with an id and a time of its own.

    `pool` holds JSON objects without their opening brace, id and time.
    """

    name: str
    pool: list[bytes]

    def bodies(self, count: int, batch: int, days: int = 90, seed: int = 1) -> Iterator[Body]:
        """Yield `count` events as arrays of `batch`, in order of time over the last `days`, with time-ordered ids."""
        chance = np.random.default_rng(seed)
        begin_us = int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1e6)
        step_us = days * 86_400_000_000 // max(count, 1)
        size = len(self.pool)
        # Once through the pool and on for the length of a batch, so that each batch is one piece of it.
        events = [_HEAD + self.pool[n % size] + b"," for n in range(size + batch)]
        starts, text = np.cumsum([0, *map(len, events)]), np.frombuffer(b"".join(events), np.uint8)
        made = batch * max(
            1, 2_000 // batch
        )  # heads at once: for the few of a small batch the calls would cost the most
        for first in range(0, count, batch):
            if first % made == 0:
                heads = _heads(begin_us + step_us * np.arange(first, min(first + made, count)), chance)
            length, at = min(batch, count - first), first % size
            begin, end = starts[at], starts[at + length]
            body = np.empty(1 + end - begin, np.uint8)
            body[0] = ord("[")
            body[1:] = text[begin:end]
            body[-1] = ord("]")  # in the place of the last comma
            # The body seen as a head at each of its bytes: so an assignment copies heads as wholes, wherever they begin.
            everywhere = np.ndarray((len(body) - len(_HEAD) + 1,), heads.dtype, body, strides=(1,))
            everywhere[1 + starts[at : at + length] - begin] = heads[first % made :][:length]
            yield Body(body.tobytes())

    def mean_bytes(self) -> float:
        """The mean length of an event as sent."""
        size = len(self.pool)
        return len(next(self.bodies(size, size)).json) / size


def synthetic() -> Corpus:
    """Events of about 450 bytes."""
    return Corpus(
        "synthetic", [json.dumps(each, separators=(",", ":"))[1:].encode() for each in synthetic_events(POOL)]
    )


def cloudtrail(path: Path) -> Corpus:
    """Real CloudTrail records, one a line, as the product's importer reads them."""
    from opssentinal.imports.cloudtrail import event_from_record

    pool = []
    for line in path.read_bytes().splitlines():
        event = msgspec.to_builtins(event_from_record(line))
        for name in ("id", "occurred_at", "source", "tenant"):
            event.pop(name, None)
        pool.append(json.dumps(event, separators=(",", ":"), ensure_ascii=False)[1:].encode())
    return Corpus("cloudtrail", pool)


def _heads(at_us: NDArray[np.int64], chance: np.random.Generator) -> NDArray[np.void]:
    """What events of these times begin with: `_HEAD` with an id (RFC 9562, Section 5.7) and a time in it."""
    count = len(at_us)
    day, second = at_us.astype("M8[us]").astype("M8[D]"), at_us // 1_000_000
    month = day.astype("M8[M]")
    months = month.astype(np.int64) + 1970 * 12
    pairs = np.empty((count, len(_DIGITS) // 2), np.intp)  # of digits
    pairs[:, 0:6] = (at_us // 1_000).astype(">i8").view(np.uint8).reshape(count, 8)[:, 2:]
    pairs[:, 6:15] = np.frombuffer(chance.bytes(9 * count), np.uint8).reshape(count, 9)
    numbers = (
        months // 1200, months // 12 % 100, months % 12 + 1, (day - month).astype(np.int64) + 1,
        second // 3600 % 24, second // 60 % 60, second % 60,
        at_us // 10_000 % 100, at_us // 100 % 100, at_us % 100,
    )  # fmt: skip
    for column, number in enumerate(numbers, start=15):
        pairs[:, column] = 256 + number
    heads = np.tile(np.frombuffer(_HEAD, np.uint8), (count, 1))
    heads[:, _DIGITS] = _PAIRS[pairs].view(np.uint8)
    return heads.view(f"V{len(_HEAD)}")[:, 0]
