"""One event in full, as its own page shows it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from opssentinal.events.catalogue import CATEGORIES, EVENT_TYPES, SENSITIVE_ACTIONS, EventType
from opssentinal.events.model import Actor, RecordedEvent, Target
from opssentinal.events.sentences import display_name, visible
from opssentinal.formats import event_json
from opssentinal.web.log.place import Place
from opssentinal.web.log.rows import event_sentence, is_future, pivot_url
from opssentinal.web.user_agents import user_agent_words


class Fact(NamedTuple):
    """A named value; `url` narrows the log to it where that makes sense."""

    name: str
    value: str
    url: str = ""
    note: str = ""


class Party(NamedTuple):
    """An actor or target with its fields."""

    title: str
    facts: list[Fact]


class ChangeView(NamedTuple):
    """One field before and after; None where there was or is no value."""

    field: str
    before: str | None
    after: str | None


class Detail(NamedTuple):
    """Everything the page shows of an event."""

    event: RecordedEvent
    sentence: str
    action: str
    kind: EventType | None
    category: str
    sensitive: bool
    future: bool
    facts: list[Fact]
    actor: Party | None
    targets: list[Party]
    context: list[Fact]
    changes: list[ChangeView]
    metadata: list[Fact]
    raw: str


def detail(place: Place, event: RecordedEvent) -> Detail:
    """Lay out an event; links narrow the page that `place` is."""
    kind = EVENT_TYPES.get(event.action)
    facts = [
        Fact("Source", visible(event.source), pivot_url(place, event, "source", event.source)),
        Fact("Event id", str(event.id)),
    ]
    if event.tenant:
        facts.insert(1, Fact("Tenant", visible(event.tenant), pivot_url(place, event, "tenant", event.tenant)))
    return Detail(
        event=event,
        sentence=event_sentence(event),
        action=visible(event.action),
        kind=kind,
        category=CATEGORIES[kind.category] if kind else "",
        sensitive=event.action in SENSITIVE_ACTIONS,
        future=is_future(event),
        facts=facts,
        actor=_party(place, event, "actor", event.actor) if event.actor else None,
        targets=[_party(place, event, "target", target) for target in event.targets],
        context=_context(place, event),
        changes=[ChangeView(visible(c.field), value_json(c.before), value_json(c.after)) for c in event.changes],
        metadata=[Fact(visible(key), value_json(value) or "null") for key, value in event.metadata.items()],
        raw=raw_json(event),
    )


def _party(place: Place, event: RecordedEvent, field: str, party: Actor | Target) -> Party:
    facts = [Fact("Id", visible(party.id), pivot_url(place, event, field, party.id))]
    if party.name:
        facts.insert(0, Fact("Name", visible(party.name)))
    if party.email:
        facts.append(Fact("E-mail", visible(party.email)))
    facts.append(Fact("Type", visible(party.type), pivot_url(place, event, f"{field}_type", party.type)))
    return Party(display_name(party), facts)


def _context(place: Place, event: RecordedEvent) -> list[Fact]:
    context = event.context
    facts: list[Fact] = []
    if context.ip:
        facts.append(Fact("IP address", visible(context.ip), pivot_url(place, event, "ip", context.ip)))
    if context.forwarded_for:
        facts.append(Fact("Forwarded for", visible(", ".join(context.forwarded_for)), note="as the request claimed"))
    if context.user_agent:
        facts.append(Fact("User agent", user_agent_words(context.user_agent), note=visible(context.user_agent)))
    if context.session_id:
        facts.append(
            Fact("Session", visible(context.session_id), pivot_url(place, event, "session", context.session_id))
        )
    if context.request_id:
        facts.append(
            Fact("Request", visible(context.request_id), pivot_url(place, event, "request", context.request_id))
        )
    if context.api_key:
        facts.append(Fact("API key", visible(context.api_key)))
    return facts


def value_json(value: Any) -> str | None:
    """Return a value of any shape as text: strings as they are, None for null, anything else as indented JSON."""
    if value is None:
        return None
    if isinstance(value, str):
        return "\n".join(map(visible, value.split("\n")))
    return json_visible(json.dumps(value, ensure_ascii=False, indent=2))


def raw_json(event: RecordedEvent) -> str:
    """Return the event as the API gives it, indented."""
    return json_visible(json.dumps(json.loads(event_json(event)), ensure_ascii=False, indent=2))


def json_visible(text: str) -> str:
    """Escape what is not printable in JSON text as JSON does, so that what is copied from the page is still that JSON."""
    return "".join(char if char.isprintable() or char in "\n\u200d" else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) > 0x7E else f"\\u{ord(char):04x}"
