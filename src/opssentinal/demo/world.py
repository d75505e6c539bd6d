"""The invented company: its people with their hours and places, its incidents, and the programs that work for it.

Made from a seed and the day it ends on, so that the same two always make the same company.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from random import Random
from uuid import UUID
from zoneinfo import ZoneInfo

from opssentinal.demo import names
from opssentinal.events.model import Actor, Context, Target

PEOPLE = 150
ADMINS = 6
DOMAIN = "example.com"  # RFC 2606
LEAVER_LEFT_DAYS = 1  # days before the last one


@dataclass(frozen=True)
class Person:
    """One of the staff. `begins` is the local hour at which their day begins, `pace` about how much they do in it."""

    actor: Actor
    role: str
    team: str
    zone: ZoneInfo
    office: str
    home: str
    agent: str
    phone: str
    begins: float
    pace: float
    hired: date | None  # None: before the story begins
    left: date | None

    @property
    def target(self) -> Target:
        """The person as what somebody else acts on."""
        return Target(type="user", id=self.actor.id, name=self.actor.name, email=self.actor.email)

    def is_here(self, day: date) -> bool:
        """Whether the account exists and is active on that day."""
        return (self.hired is None or self.hired <= day) and (self.left is None or day < self.left)

    def midnight(self, day: date) -> datetime:
        """The instant at which that day begins where they live."""
        return datetime.combine(day, time(), self.zone)


@dataclass(frozen=True)
class Program:
    """A program that sends events of its own, under its own name."""

    actor: Actor
    context: Context
    source: str


@dataclass(frozen=True)
class World:
    """Everybody and everything. `admins` come first among `people`; `leaver` is whom the company has to let go."""

    seed: int
    first_day: date
    last_day: date
    people: tuple[Person, ...]
    incidents: tuple[tuple[date, Target], ...]
    programs: dict[str, Program]
    leaver: Person

    @property
    def admins(self) -> tuple[Person, ...]:
        """Those who run the workspace."""
        return self.people[:ADMINS]

    def open_incidents(self, day: date) -> list[Target]:
        """What people look at on that day: what began within the last six days, the newest most."""
        found = [target for began, target in self.incidents if timedelta(0) <= day - began <= timedelta(days=6)]
        return found + found[-3:] * 2


def build_world(seed: int, last_day: date, days: int) -> World:
    """Make the company as it is over the `days` days that end with `last_day`."""
    rng = Random(f"world:{seed}")
    first_day = last_day - timedelta(days=days - 1)
    people = [_person(rng, number, first_day, days) for number in range(PEOPLE)]
    at = next(at for at in range(112, PEOPLE) if people[at].hired is None and people[at].left is None)
    people[at] = replace(people[at], left=last_day - timedelta(days=LEAVER_LEFT_DAYS))
    incidents = _incidents(rng, first_day, days)
    programs = {program.source: program for program in _programs()}
    return World(seed, first_day, last_day, tuple(people), incidents, programs, people[at])


def _person(rng: Random, number: int, first_day: date, days: int) -> Person:
    # One step through both lists, whose lengths have no common factor, never makes the same name twice.
    name = f"{names.GIVEN[number * 5 % len(names.GIVEN)]} {names.FAMILY[number * 7 % len(names.FAMILY)]}"
    zone, _, office = rng.choices(names.OFFICES, [share for _, share, _ in names.OFFICES])[0]
    hired = left = None
    if number >= ADMINS and days > 14:
        # Some join and some leave while we watch; nobody does both.
        draw = rng.random()
        day = first_day + timedelta(days=rng.randrange(3, days - 3))
        hired, left = (day if draw < 0.14 else None), (day if draw > 0.94 else None)
    return Person(
        actor=Actor(type="user", id=f"usr_{number + 1001}", name=name, email=f"{_ascii(name)}@{DOMAIN}"),
        role="admin" if number < ADMINS else rng.choices(("member", "auditor"), (9, 1))[0],
        team=rng.choice(names.TEAMS),
        zone=ZoneInfo(zone),
        office=office,
        home=f"192.0.2.{rng.randrange(1, 255)}"
        if rng.random() < 0.7
        else f"2001:db8:{rng.randrange(16**4):x}::{number + 1:x}",
        agent=rng.choice(names.AGENTS),
        phone=rng.choice(names.PHONES),
        begins=rng.gauss(8.8, 0.7),
        pace=rng.lognormvariate(0, 0.45),
        hired=hired,
        left=left,
    )


def _incidents(rng: Random, first_day: date, days: int) -> tuple[tuple[date, Target], ...]:
    found = []
    number = 2100
    for offset in range(-6, days):
        for _ in range(rng.choices((0, 1, 2, 3), (2, 5, 4, 1))[0] or (offset == -6)):
            number += 1
            name = f"{rng.choice(names.SERVICES)} {rng.choice(names.TROUBLES)}"
            found.append(
                (first_day + timedelta(days=offset), Target(type="incident", id=f"incident_{number}", name=name))
            )
    return tuple(found)


def _programs() -> list[Program]:
    def program(source: str, name: str, ip: str, agent: str, key: str) -> Program:
        actor = Actor(type="service", id=f"svc_{name}", name=name)
        return Program(actor, Context(ip=ip, user_agent=agent, session_id=f"key_{key}"), source)

    return [
        program("billing", "billing-worker", "10.20.4.17", "billing-worker/4.12.0 python-httpx/0.28.1", "3kTq"),
        program("ci", "ci-runner", "10.20.8.31", "ci-runner/2.9 Go-http-client/2.0", "9fQz"),
        program("grafana", "grafana", "10.20.2.5", "Grafana/12.1.0", "7aLm"),
        program("warehouse", "data-warehouse", "10.20.6.90", "trino-client-python/0.334.0", "1xWv"),
        program("vpn", "vpn-gateway", "10.0.0.1", "vpn-gateway/7.4", "5hRd"),
    ]


def _ascii(name: str) -> str:
    """The name as the part of an address before the @: ASCII letters with a dot between."""
    letters = unicodedata.normalize("NFKD", name.replace("ı", "i").replace("ø", "o").replace("'", "")).lower()
    return ".".join(letters.encode("ascii", "ignore").decode().split())


def event_id(rng: Random, at: datetime) -> UUID:
    """A UUIDv7 (RFC 9562) of that moment, whose random bits come from `rng`, so that filling again makes the same."""
    ms = int(at.timestamp() * 1000)
    return UUID(int=(ms << 80) | (7 << 76) | (rng.getrandbits(12) << 64) | (2 << 62) | rng.getrandbits(62))
