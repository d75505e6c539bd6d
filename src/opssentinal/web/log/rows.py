"""Events as rows of the table: what each cell says, and where a click on it leads."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from opssentinal.events.catalogue import SENSITIVE_ACTIONS
from opssentinal.events.model import Actor, RecordedEvent, Target
from opssentinal.events.sentences import display_name, sentence, visible
from opssentinal.query import Filter
from opssentinal.web.log.place import Place, only
from opssentinal.web.log.window import CLOCK_AHEAD, Window
from opssentinal.web.user_agents import user_agent_words


class Cell(NamedTuple):
    """A value with a second, quieter line and the address that narrows the page to it."""

    text: str
    more: str
    url: str


class Row(NamedTuple):
    """One event of the table."""

    seq: int
    url: str
    moment: datetime
    action: str
    sentence: str
    outcome: str
    sensitive: bool
    future: bool
    actor: Cell | None
    target: Cell | None
    ip: Cell | None
    agent: str
    agent_full: str


def rows(place: Place, events: Iterable[RecordedEvent]) -> list[Row]:
    """Return the rows of events, in their order."""
    return [_row(place, event) for event in events]


def event_sentence(event: RecordedEvent) -> str:
    """Say the event in one sentence."""
    return sentence(event.action, event.outcome, event.actor, event.targets, event.changes, event.message)


def is_future(event: RecordedEvent) -> bool:
    """Whether the sender says that it occurred after this log had recorded it: its clock was wrong."""
    return event.occurred_at - event.recorded_at > CLOCK_AHEAD


def narrowed_url(place: Place, field: str, value: str) -> str:
    """Return the address of the page narrowed to events whose field is this value."""
    return place.with_terms(only(place.terms, field, value)).url()


def pivot_url(place: Place, event: RecordedEvent, field: str, value: str) -> str:
    """Return the address of all events whose field is this value: in the range of the page if the event is in it."""
    window = place.window
    inside = (window.after is None or window.after <= event.occurred_at) and (
        window.before is None or event.occurred_at < window.before
    )
    return place.with_window(window if inside else Window("all")).with_terms(Filter().including(field, value)).url()


def _row(place: Place, event: RecordedEvent) -> Row:
    ip, agent = event.context.ip, event.context.user_agent
    return Row(
        seq=event.seq,
        url=place.event_url(event.seq),
        moment=event.occurred_at,
        action=visible(event.action),
        sentence=event_sentence(event),
        outcome=event.outcome,
        sensitive=event.action in SENSITIVE_ACTIONS,
        future=is_future(event),
        actor=_party(place, "actor", event.actor),
        target=_party(place, "target", event.targets[0], len(event.targets) - 1) if event.targets else None,
        ip=Cell(visible(ip), "", narrowed_url(place, "ip", ip)) if ip else None,
        agent=user_agent_words(agent) if agent else "",
        agent_full=visible(agent) if agent else "",
    )


def _party(place: Place, field: str, party: Actor | Target | None, others: int = 0) -> Cell | None:
    if party is None:
        return None
    name = display_name(party)
    kind = visible(party.type).replace("_", " ")
    second = visible(party.email) if party.email and party.name else kind if field == "actor" or not others else ""
    if others:
        second = f"{kind}, {others} more"
    return Cell(name, second, narrowed_url(place, field, party.id))
