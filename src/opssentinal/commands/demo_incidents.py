"""The demo's incidents: rows for the newest of those that its invented events speak of, as people would have left them.

They are made directly and record nothing: the invented days have events of their own that tell of them. It stands with the
commands because neither the demo nor the incidents know of each other.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from random import Random

from django.db import transaction

from opssentinal.demo.filling import EMAIL
from opssentinal.demo.world import World
from opssentinal.events.model import RecordedEvent, Target
from opssentinal.incidents.models import ID_PREFIX, AttachedEvent, Counter, Incident, Note, Origin, Severity, Status
from opssentinal.incidents.services import snapshot
from opssentinal.ledger import reader
from opssentinal.workspace.models import User

INCIDENTS = 24
ATTACHED = 4
_EVENTS_LOOKED_AT = 20_000
_SEVERITIES = ((Severity.CRITICAL, 1), (Severity.HIGH, 4), (Severity.MEDIUM, 6), (Severity.LOW, 3))
_DESCRIPTIONS = (
    "Customers report it since the last deployment. Dashboards agree: the error budget of the day is gone.",
    "Noticed by the on-call engineer. Only one region is affected so far.",
    "The alert fired twice and cleared by itself both times. Worth finding out why before it stays.",
    "",
)
_NOTES = (
    "Looking into it.",
    "Rolled back the last deployment; the numbers look better already.",
    "Found it: a connection pool that was too small for the new workers. Raised it and restarted.",
    "Support has told the customers who asked.",
    "Back to normal for an hour. Keeping it open until the nightly jobs have run.",
    "Cause and follow-ups are written up for the review on Thursday.",
)


def add_incidents(world: World, end: datetime) -> None:
    """Add the newest incidents of the world, unless there are some already."""
    rng = Random(f"incidents:{world.seed}")
    chosen = world.incidents[-INCIDENTS:]
    told = _events_about({target.id for _, target in chosen})
    demo = User.objects.get(email=EMAIL)
    with transaction.atomic():
        if Incident.objects.exists():
            return
        # Early, so that what the log has of that day came after it; never after the end.
        begun = [datetime.combine(day, time(rng.randrange(8), rng.randrange(60)), end.tzinfo) for day, _ in chosen]
        for opened, (_, target) in zip(sorted(min(each, end) for each in begun), chosen, strict=True):
            _add(rng, world, demo, target, opened, end, told[target.id])
        Counter.objects.update_or_create(pk=1, defaults={"last": max(_number(target) for _, target in world.incidents)})


def _add(
    rng: Random, world: World, demo: User, target: Target, opened: datetime, end: datetime, told: list[RecordedEvent]
) -> None:
    status = _status(rng, end - opened)
    people = [person.actor for person in rng.sample(world.people, 3)]
    by_program = rng.random() < 0.3
    moments = sorted(opened + (end - opened) * rng.random() / 3 for _ in range(rng.randrange(0, 4)))
    changed = moments[-1] if moments else opened
    incident = Incident(
        number=_number(target),
        title=target.name or target.id,
        description=rng.choice(_DESCRIPTIONS),
        severity=rng.choices([each for each, _ in _SEVERITIES], [weight for _, weight in _SEVERITIES])[0],
        status=status,
        assignee=demo if rng.random() < 0.4 else None,
        origin=Origin.API if by_program else Origin.MANUAL,
        version=1 if status == Status.OPEN else 2,
        created_at=opened,
        updated_at=changed,
        closed_at=changed if status == Status.CLOSED else None,
    )
    incident.sign(rng.choice(list(world.programs.values())).actor if by_program else people[0])
    incident.save(force_insert=True)
    first = rng.randrange(len(_NOTES))
    for place, moment in enumerate(moments):
        note = Note(incident=incident, text=_NOTES[(first + place) % len(_NOTES)], created_at=moment)
        note.sign(rng.choice(people))
        note.save()
    AttachedEvent.objects.bulk_create(snapshot(incident, event, people[0], changed) for event in told)


def _status(rng: Random, age: timedelta) -> Status:
    if age < timedelta(hours=12):
        return rng.choice((Status.OPEN, Status.OPEN, Status.ACKNOWLEDGED))
    if age < timedelta(days=3):
        return rng.choice((Status.OPEN, Status.ACKNOWLEDGED, Status.RESOLVED))
    return rng.choice((Status.RESOLVED, Status.CLOSED, Status.CLOSED))


def _events_about(ids: set[str]) -> dict[str, list[RecordedEvent]]:
    """For each incident the last events in the log that tell more of it than that somebody looked."""
    found: dict[str, list[RecordedEvent]] = {id_: [] for id_ in ids}
    for event in reader.newest(_EVENTS_LOOKED_AT):
        for target in event.targets:
            about = found.get(target.id)
            if about is not None and len(about) < ATTACHED and event.action != "incident.viewed":
                about.append(event)
    return found


def _number(target: Target) -> int:
    return int(target.id.removeprefix(ID_PREFIX))
