"""The meaning of a Filter, as its docstring and SearchStore's say it, evaluated over plain lists: slow and obvious."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from opssentinal.events.catalogue import SENSITIVE_ACTIONS, category_of
from opssentinal.events.model import RecordedEvent
from opssentinal.query import FIELDS, Filter, Term, pieces


def matching(events: Iterable[RecordedEvent], filter: Filter, without: Sequence[str] = ()) -> list[RecordedEvent]:
    """The events that the filter means, its terms of the fields `without` left out."""
    return [
        event
        for event in events
        if (filter.after is None or event.occurred_at >= filter.after)
        and (filter.before is None or event.occurred_at < filter.before)
        and all(has(event, term) != term.negated for term in filter.terms if term.field not in without)
        and all(mentions(event, phrase.value) != phrase.negated for phrase in filter.text)
    ]


def has(event: RecordedEvent, term: Term) -> bool:
    """Whether the event's field has one of the term's values."""
    match term.field:
        case "ip":
            return any(in_network(event.context.ip, value) for value in term.values)
        case "category":
            return category_of(event.action) in term.values
        case "is":
            return event.action in SENSITIVE_ACTIONS
        case "id":
            return str(event.id) in term.values
        case "outcome":
            return event.outcome in term.values
    folds = FIELDS[term.field].folds_case
    return any(fits(value, text, folds) for value in term.values for text in texts_of(event, term.field) if text)


def texts_of(event: RecordedEvent, field: str) -> list[str | None]:
    """The texts of a field."""
    actor, context = event.actor, event.context
    return {
        "actor": lambda: [actor.id, actor.name, actor.email] if actor else [],
        "actor_type": lambda: [actor.type] if actor else [],
        "action": lambda: [event.action],
        "target": lambda: [text for target in event.targets for text in (target.id, target.name, target.email)],
        "target_type": lambda: [target.type for target in event.targets],
        "ua": lambda: [context.user_agent],
        "session": lambda: [context.session_id],
        "request": lambda: [context.request_id],
        "source": lambda: [event.source],
        "tenant": lambda: [event.tenant],
    }[field]()


def fits(value: str, text: str, folds: bool) -> bool:
    """Whether a text matches a value with its wildcards."""
    if folds:
        value, text = lower(value), lower(text)
    return re.fullmatch(".*".join(map(re.escape, pieces(value))), text, re.DOTALL) is not None


def in_network(ip: str | None, value: str) -> bool:
    """Whether an address lies in a network; IPv4 mapped into IPv6 counts as IPv4."""
    if ip is None:
        return False
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address in ipaddress.ip_network(value)


def mentions(event: RecordedEvent, phrase: str) -> bool:
    """Whether the phrase occurs in a searchable text."""
    actor, first = event.actor, event.targets[0] if event.targets else None
    plain = [event.action, event.context.ip, event.context.user_agent, event.message]
    if actor:
        plain += [actor.id, actor.name, actor.email]
    if first:
        plain += [first.type, first.id, first.name, first.email]
    in_json = [
        compact([[target.type, target.id, target.name, target.email] for target in event.targets[1:]]),
        compact([[change.field, change.before, change.after] for change in event.changes]),
        compact(event.metadata),
    ]
    parts = pieces(phrase)
    escaped = [json.dumps(part, ensure_ascii=False)[1:-1] for part in parts]
    return any(occurs(parts, text) for text in plain if text) or any(occurs(escaped, text) for text in in_json if text)


def compact(value: object) -> str:
    """Compact JSON; nothing for what is empty."""
    return msgspec.json.encode(value).decode() if value else ""


def occurs(parts: Sequence[str], text: str) -> bool:
    """Whether the parts occur in this order, case folded."""
    return re.search(".*".join(re.escape(lower(part)) for part in parts), lower(text), re.DOTALL) is not None


def facet(events: Sequence[RecordedEvent], field: str) -> Counter[str]:
    """How many events have each value of a field."""
    count: Counter[str] = Counter()
    for event in events:
        match field:
            case "actor":
                values = {event.actor.id} if event.actor else set()
            case "target":
                values = {target.id for target in event.targets}
            case "outcome":
                values = {event.outcome}
            case "ip":
                values = {event.context.ip}
            case _:
                values = set(texts_of(event, field))
        count.update(value for value in values if value)
    return count


def lower(text: str) -> str:
    """Lower case of one character for each, whatever stands beside it, as the engine has it: İ is i, and a last Σ is σ."""
    return "".join("i" if char == "İ" else char.lower() for char in text)
