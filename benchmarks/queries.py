"""What the first pages are asked for: values that are frequent, rare or absent in the corpus at hand, for both products."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from benchmarks.events import Corpus

WEEK = "created_at > now() - interval '7 days'"


class Query(NamedTuple):
    """A filter as parameters of the API, and as a condition on PostgreSQL's table with its values; no condition: not asked there.

    Of "7 days", whoever asks adds which.
    """

    name: str
    parameters: dict[str, str]
    condition: str = ""
    values: tuple[str, ...] = ()


class _Values(NamedTuple):
    """Of one field: the value in most events, and one that is in as few as any."""

    frequent: str
    rare: str


def queries(corpus: Corpus) -> list[Query]:
    """Each kind of filter once. `Rare` is what is rarest in the pool of events that is sent over and over."""
    events = [json.loads(b"{" + event) for event in corpus.pool]
    action = _values(event["action"] for event in events)
    actor = _values(event["actor"]["id"] for event in events)
    targets = [event["targets"][0] for event in events if event.get("targets")]
    target = _values(target["id"] for target in targets)
    ip = _values(event["context"]["ip"] for event in events if "ip" in event.get("context", {}))
    outcome = _values(event.get("outcome", "unknown") for event in events)
    said = next((each["name"] for each in targets if each["id"] == target.rare and "name" in each), target.rare)
    network = ip.frequent.rpartition(".")[0] if "." in ip.frequent else ""
    of_actor = Counter(
        (event["action"].partition(".")[0], event.get("outcome", "unknown"))
        for event in events
        if event["actor"]["id"] == actor.frequent
    )
    nouns, outcomes = zip(*of_actor, strict=True)
    nowhere = next(pair for pair in product(sorted(nouns), [outcome.rare, *outcomes]) if pair not in of_actor)
    page = [
        Query("no filter", {}, "true"),
        *_each("action", "action", action),
        *_each("actor", "actor_id", actor),
        *_each("target", "entity_id", target),
        *_each("address", "ip", ip, parameter="ip"),
        Query("outcome", {"outcome": outcome.rare}),
        _three("three filters", actor.frequent, *min(of_actor, key=of_actor.__getitem__)),
        _three("three filters, nothing meets all", actor.frequent, *nowhere),
    ]
    if network:
        page.append(Query("network", {"ip": f"{network}.0/24"}))
    text = ("details::text ILIKE %s", (f"%{said}%",))
    return [
        *page,
        Query("free text, 7 days", {"q": f'"{said}"'}, f"{text[0]} AND {WEEK}", text[1]),
        Query("free text, all time", {"q": f'"{said}"'}, *text),
        Query("absent text, all time", {"q": "qqqzzz"}),
    ]


def _each(name: str, column: str, values: _Values, parameter: str = "") -> Iterator[Query]:
    absent = "198.51.100.7" if column == "ip" else "nobody.here"
    for kind, value in (("frequent", values.frequent), ("rare", values.rare), ("absent", absent)):
        yield Query(f"{kind} {name}", {parameter or name: value}, f"{column} = %s", (value,))


def _three(name: str, actor: str, noun: str, outcome: str) -> Query:
    return Query(
        name,
        {"action": f"{noun}.*", "actor": actor, "outcome": outcome},
        "action LIKE %s AND actor_id = %s AND details->>'outcome' = %s",
        (f"{noun}.%", actor, outcome),
    )


def _values(values: Iterator[Any]) -> _Values:
    counted = Counter(values).most_common()
    return _Values(counted[0][0], counted[-1][0])
