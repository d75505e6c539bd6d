"""Whether one event is meant by a Filter: what integrations ask of each event as they follow the log.

Search stores compile the same Filter into their own language; this reads it as `query.Filter` says, and the searchable
text as `search.store` says, so that a webhook receives exactly the events that the same query finds on the page. A test
holds it to the search engine. Every text is looked through once from left to right, whatever the pattern.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import msgspec

from opssentinal.events.catalogue import SENSITIVE_ACTIONS, category_of
from opssentinal.events.model import RecordedEvent
from opssentinal.query import FIELDS, Filter, Phrase, Term, pieces

Test = Callable[[RecordedEvent], bool]


@lru_cache(maxsize=256)
def matcher(filter: Filter) -> Test:
    """Make the test of a filter: call it with an event, again and again."""
    tests = [_test_of(term) for term in filter.terms] + [_test_of_phrase(phrase) for phrase in filter.text]

    def matches(event: RecordedEvent) -> bool:
        if filter.after is not None and event.occurred_at < filter.after:
            return False
        if filter.before is not None and event.occurred_at >= filter.before:
            return False
        return all(test(event) for test in tests)

    return matches


def _test_of(term: Term) -> Test:
    holds = _has_one(term)
    return (lambda event: not holds(event)) if term.negated else holds


def _has_one(term: Term) -> Test:
    """The field has one of the term's values."""
    values = frozenset(term.values)
    match term.field:
        case "category":
            return lambda event: category_of(event.action) in values
        case "is":
            return lambda event: event.action in SENSITIVE_ACTIONS
        case "id":
            return lambda event: str(event.id) in values
        case "outcome":
            return lambda event: event.outcome in values
        case "ip":
            networks = [ipaddress.ip_network(value) for value in values]
            return lambda event: _lies_in(event.context.ip, networks)
    texts, fold = _TEXTS[term.field], folded if FIELDS[term.field].folds_case else str
    patterns = [tuple(map(fold, pieces(value))) for value in term.values]
    return lambda event: any(_fits(parts, fold(text)) for text in texts(event) if text for parts in patterns)


def _actor(event: RecordedEvent) -> Iterable[str | None]:
    return (event.actor.id, event.actor.name, event.actor.email) if event.actor else ()


_TEXTS: dict[str, Callable[[RecordedEvent], Iterable[str | None]]] = {
    "actor": _actor,
    "actor_type": lambda event: (event.actor.type,) if event.actor else (),
    "action": lambda event: (event.action,),
    "target": lambda event: (text for target in event.targets for text in (target.id, target.name, target.email)),
    "target_type": lambda event: (target.type for target in event.targets),
    "ua": lambda event: (event.context.user_agent,),
    "session": lambda event: (event.context.session_id,),
    "request": lambda event: (event.context.request_id,),
    "source": lambda event: (event.source,),
    "tenant": lambda event: (event.tenant,),
}


def _test_of_phrase(phrase: Phrase) -> Test:
    """The phrase occurs in one of the searchable texts, as it is written or, in those that are JSON, as JSON writes it."""
    plain = tuple(map(folded, ("", *pieces(phrase.value), "")))
    escaped = tuple(map(folded, ("", *map(_in_json, pieces(phrase.value)), "")))

    def occurs(event: RecordedEvent) -> bool:
        return any(_fits(plain, folded(text)) for text in _plain_texts(event) if text) or any(
            _fits(escaped, folded(text)) for text in _json_texts(event)
        )

    return (lambda event: not occurs(event)) if phrase.negated else occurs


def _plain_texts(event: RecordedEvent) -> Iterator[str | None]:
    yield from (event.action, event.context.ip, event.context.user_agent, event.message)
    yield from _actor(event)
    if event.targets:
        first = event.targets[0]
        yield from (first.type, first.id, first.name, first.email)


def _json_texts(event: RecordedEvent) -> Iterator[str]:
    further = [[target.type, target.id, target.name, target.email] for target in event.targets[1:]]
    changes = [[change.field, change.before, change.after] for change in event.changes]
    return (msgspec.json.encode(value).decode() for value in (further, changes, event.metadata) if value)


def _in_json(text: str) -> str:
    return msgspec.json.encode(text).decode()[1:-1]


def _fits(parts: tuple[str, ...], text: str) -> bool:
    """Whether the text is the one part, or the parts in order with anything between them."""
    if len(parts) == 1:
        return text == parts[0]
    first, *middle, last = parts
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        # The leftmost place leaves most room to those that follow, so no other one needs to be tried.
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def folded(text: str) -> str:
    """Lower case as SQL has it, character by character: Python's own looks around Σ and makes two characters of İ."""
    return text.lower() if text.isascii() else "".join(map(_lower, text))


def _lower(char: str) -> str:
    return "i" if char == "İ" else char.lower()


def _lies_in(ip: str | None, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    if ip is None:
        return False
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
