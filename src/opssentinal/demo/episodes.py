"""The three stories hidden in the demo, for whoever wants to see what a log is for.

* An account is guessed by force: hundreds of failures from one address, then a success, then a look around.
* A privilege escalation: a role raised at an odd hour, and what the new admin does with it within minutes.
* A mass export by night, two days before the account that made it is switched off.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

from opssentinal.demo.days import Day
from opssentinal.demo.world import LEAVER_LEFT_DAYS, Person, World
from opssentinal.events.model import Change, Context, Target

ATTACKER = "203.0.113.66"
_SCRIPT = "python-requests/2.32.5"
_TOR_BROWSER = "Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0"
BRUTE_FORCE_FAILURES = 412


def brute_force(day: Day) -> None:
    """Guess one account's password at night, until it gives way."""
    rng, victim = day.rng, _lasting(day.world, 40)
    at = day.start + timedelta(hours=2, minutes=13)
    for _ in range(BRUTE_FORCE_FAILURES):
        guess = Context(ip=ATTACKER, user_agent=_SCRIPT)
        metadata = {"method": "password", "reason": "wrong_password"}
        day.add(at, "login.failure", victim.actor, guess, outcome="failure", metadata=metadata)
        at += timedelta(seconds=rng.uniform(0.6, 2.4))
    inside = Context(ip=ATTACKER, user_agent=_SCRIPT, session_id=f"{rng.getrandbits(96):024x}")
    day.add(at, "login.success", victim.actor, inside, metadata={"method": "password"})
    for incident in day.incidents:
        at += timedelta(seconds=rng.uniform(1, 3))
        day.add(at, "incident.viewed", victim.actor, inside, [incident])
    for page, title in (("users", "Users"), ("audit_log", "Audit Logs"), ("api_keys", "API Keys")):
        at += timedelta(seconds=rng.uniform(1, 4))
        day.add(at, "access.denied", victim.actor, inside, [Target("page", page, title)], outcome="denied")
    admin = day.world.admins[1]
    morning = day.start + timedelta(hours=7, minutes=41)
    day.add(
        morning, "session.revoked", admin.actor, day.session(admin), [victim.target], metadata={"reason": "suspicious"}
    )


def privilege_escalation(day: Day) -> None:
    """An admin's session, used from elsewhere, raises an accomplice; the traces are pruned sooner, the alarm is cut."""
    rng, admin, accomplice = day.rng, day.world.admins[3], _lasting(day.world, 77)
    at = day.start + timedelta(hours=23, minutes=4)
    stolen = Context(ip="198.51.100.213", user_agent=_TOR_BROWSER, session_id=f"{rng.getrandbits(96):024x}")
    day.add(at, "login.success", admin.actor, stolen, metadata={"method": "password"})
    at += timedelta(seconds=48)
    raised = [Change("role", "member", "admin")]
    day.add(at, "user.role_changed", admin.actor, stolen, [accomplice.target], changes=raised)
    theirs = Context(ip="198.51.100.214", user_agent=_TOR_BROWSER, session_id=f"{rng.getrandbits(96):024x}")
    steps: tuple[tuple[str, Target | None, list[Change], dict[str, Any]], ...] = (
        ("login.success", None, [], {"method": "password"}),
        ("settings.updated", Target("settings", "security", "Security"), [Change("require_mfa", True, False)], {}),
        (
            "settings.updated",
            Target("settings", "data_retention", "Data Retention"),
            [Change("audit_retention_days", 365, 90)],
            {},
        ),
        ("integration.deleted", Target("integration", "int_5", "Splunk HEC"), [], {}),
        ("integration.created", Target("integration", "int_31", "Generic webhook"), [], {"url": "https://203.0.113.199/in"}),
        (
            "api_key.created",
            Target("api_key", "e91c07d2", "backup"),
            [],
            {"scopes": ["events:read", "events:write"], "source": "backup"},
        ),
        ("oidc.configured", Target("oidc_provider", "oidc_1", "Keycloak"), [Change("issuer", "id.example.com", "id.example.net")], {}),
        ("logout", None, [], {}),
    )  # fmt: skip
    for action, target, changes, metadata in steps:
        at += timedelta(seconds=rng.uniform(15, 70))
        day.add(at, action, accomplice.actor, theirs, [target] if target else [], changes=changes, metadata=metadata)


def mass_export(day: Day) -> None:
    """Somebody takes everything with them, between two and three at night where they live."""
    rng, person = day.rng, day.world.leaver
    at = person.midnight(day.day).astimezone(UTC) + timedelta(hours=2, minutes=11)
    context = Context(ip=person.home, user_agent=person.agent, session_id=f"{rng.getrandbits(96):024x}")
    day.add(at, "login.success", person.actor, context, metadata={"method": "sso"})
    for _ in range(46):
        at += timedelta(seconds=rng.uniform(20, 75))
        day.export(at, person, context, rng.randrange(80_000, 400_000))
    day.add(at + timedelta(minutes=2), "logout", person.actor, context)


# Days before the last one.
EPISODES: dict[int, Callable[[Day], None]] = {
    12: brute_force,
    5: privilege_escalation,
    LEAVER_LEFT_DAYS + 2: mass_export,
}


def _lasting(world: World, number: int) -> Person:
    """The first person from `number` on who is there all the time."""
    return next(person for person in world.people[number:] if person.hired is None and person.left is None)
