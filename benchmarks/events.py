"""Synthetic events of about 470 bytes, alike for everything that is measured."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

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


def synthetic_events(count: int, days: int = 90, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield events in order of time, spread over the last `days`, with time-ordered ids (UUIDv7 of occurred_at)."""
    chance = random.Random(seed)
    weights = [weight for _, _, weight in _ACTIONS]
    begin = datetime.now(UTC) - timedelta(days=days)
    step = timedelta(days=days) / max(count, 1)
    for n in range(count):
        at = begin + step * n
        action, outcome, _ = chance.choices(_ACTIONS, weights)[0]
        person = int(PEOPLE * chance.random() ** 2)
        target = chance.randrange(20_000)
        yield {
            "id": _uuid7(at, chance),
            "action": action,
            "outcome": outcome if chance.random() > 0.01 else "denied",
            "occurred_at": at.isoformat().replace("+00:00", "Z"),
            "actor": {
                "type": "user", "id": f"usr_{person}", "name": f"Person {person}", "email": f"person{person}@example.com",
            },
            "targets": [{"type": "incident", "id": f"incident_{target}", "name": f"Incident {target}"}],
            "context": {"ip": f"203.0.{person % 113}.{person % 250}", "user_agent": chance.choice(_AGENTS)},
            "metadata": {"n": n},
        }  # fmt: skip


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
    pool: list[str]

    def bodies(self, count: int, batch: int, days: int = 90, seed: int = 1) -> Iterator[Body]:
        """Yield `count` events as arrays of `batch`, in order of time over the last `days`, with time-ordered ids."""
        chance = random.Random(seed)
        begin_us = int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1e6)
        step_us = days * 86_400_000_000 // max(count, 1)
        for first in range(0, count, batch):
            noise = chance.randbytes(9 * batch).hex()
            parts = []
            for n in range(first, min(first + batch, count)):
                at_us = begin_us + step_us * n
                time_hex, r = f"{at_us // 1000:012x}", noise[18 * (n - first) :]
                second, rest_us = divmod(at_us, 1_000_000)
                parts.append(
                    f'{{"id":"{time_hex[:8]}-{time_hex[8:]}-7{r[:3]}-8{r[3:6]}-{r[6:18]}",'
                    f'"occurred_at":"{_second(second)}.{rest_us:06d}Z",{self.pool[n % len(self.pool)]}'
                )
            yield Body(f"[{','.join(parts)}]".encode())

    def mean_bytes(self) -> float:
        """The mean length of an event as sent."""
        return sum(len(body.json) for body in self.bodies(2_000, 1_000)) / 2_000


def synthetic() -> Corpus:
    """Events of about 470 bytes."""
    pool = []
    for event in synthetic_events(POOL):
        del event["id"], event["occurred_at"]
        pool.append(json.dumps(event, separators=(",", ":"))[1:])
    return Corpus("synthetic", pool)


def cloudtrail(path: Path) -> Corpus:
    """Real CloudTrail records, one a line, as the product's importer reads them."""
    from opssentinal.imports.cloudtrail import event_from_record

    pool = []
    for line in path.read_bytes().splitlines():
        event = msgspec.to_builtins(event_from_record(line))
        for name in ("id", "occurred_at", "source", "tenant"):
            event.pop(name, None)
        pool.append(json.dumps(event, separators=(",", ":"), ensure_ascii=False)[1:])
    return Corpus("cloudtrail", pool)


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _uuid7(at: datetime, chance: random.Random) -> str:
    digits = f"{int(at.timestamp() * 1000):012x}7{chance.getrandbits(12):03x}{'89ab'[chance.getrandbits(2)]}{chance.getrandbits(60):015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
