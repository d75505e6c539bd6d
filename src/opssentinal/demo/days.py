"""An ordinary day: people sign in, look at incidents and sign out; admins run the workspace; programs work day and night."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from random import Random
from typing import Any

from opssentinal.demo import names
from opssentinal.demo.rare import rare_doings
from opssentinal.demo.world import Person, World, event_id
from opssentinal.events.model import Actor, Change, Context, Event, Outcome, Target

_VIEWS = 14.0  # what a person of pace 1 looks at on a working day
_OWN = "opssentinal"


class Day:
    """One day of the company. `events()` are in order of time; the same world and day always make the same ones."""

    def __init__(self, world: World, day: date) -> None:
        self.world = world
        self.day = day
        self.rng = Random(f"day:{world.seed}:{day}")
        self.start = datetime.combine(day, time(), UTC)
        self.is_weekend = day.weekday() >= 5
        self.incidents = world.open_incidents(day)
        self.made: list[Event] = []

    def events(self) -> list[Event]:
        """Everything that happens on the day, in order of time."""
        for person in self.world.people:
            if person.is_here(self.day) and self.rng.random() < (0.13 if self.is_weekend else 0.92):
                self._work(person)
        self._staff()
        for _ in range(0 if self.is_weekend else self.rng.randrange(5, 12)):
            self._administer()
        self._programs()
        self._night()
        self.made.sort(key=lambda event: event.occurred_at or self.start)
        return self.made

    def add(
        self,
        at: datetime,
        action: str,
        actor: Actor,
        context: Context,
        targets: list[Target] | None = None,
        *,
        outcome: Outcome = "success",
        source: str = _OWN,
        **more: Any,
    ) -> None:
        """Let it happen at `at`. Values go into the event as they are, so they are valid here or a test fails."""
        self.made.append(
            Event(
                id=event_id(self.rng, at),
                action=action,
                outcome=outcome,
                occurred_at=at,
                actor=actor,
                context=context,
                targets=targets or [],
                source=source,
                **more,
            )
        )

    def session(self, person: Person) -> Context:
        """A sign-in somewhere: at the office, at home, or for a moment on the phone."""
        rng = self.rng
        place = rng.random()
        ip = person.office if place < 0.55 and not self.is_weekend else person.home
        agent = person.phone if place > 0.95 else person.agent
        return Context(ip=ip, user_agent=agent, session_id=f"{rng.getrandbits(96):024x}")

    def _work(self, person: Person) -> None:
        rng, actor = self.rng, person.actor
        hours = 1.5 if self.is_weekend else 8.0
        at = person.midnight(self.day).astimezone(UTC) + timedelta(hours=max(person.begins + rng.gauss(0, 0.4), 4.0))
        context = self.session(person)
        method = rng.choices(("sso", "password"), (4, 1))[0]
        for _ in range(rng.choices((0, 1, 2, 3), (93, 5, 1.5, 0.5))[0]):
            reason = {"method": "password", "reason": "wrong_password"}
            self.add(at, "login.failure", actor, context, outcome="failure", metadata=reason)
            at += timedelta(seconds=rng.uniform(4, 40))
        self.add(at, "login.success", actor, context, metadata={"method": method})
        count = int(person.pace * _VIEWS * rng.uniform(0.6, 1.4) * (0.35 if self.is_weekend else 1.0)) + 1
        for _ in range(count):
            moment = at + timedelta(hours=hours * rng.random(), seconds=30)
            self._view(moment, person, context)
        end = at + timedelta(hours=hours, minutes=rng.uniform(1, 50))
        if rng.random() < 0.55:
            self.add(end, "logout", actor, context)
        chance = rng.random()
        during = at + timedelta(hours=hours * rng.random(), minutes=1)
        if chance < 0.035:
            self.export(during, person, context, rng.randrange(40, 60_000))
        elif chance < 0.06:
            page, title = rng.choice(names.PAGES)
            if person.role == "member":
                target = Target(type="page", id=page, name=title)
                self.add(during, "access.denied", actor, context, [target], outcome="denied")
        elif chance < 0.072:
            metadata = {"session_id": f"{rng.getrandbits(96):024x}"}
            self.add(during, "session.revoked", actor, context, [person.target], metadata=metadata)
        elif chance < 0.085:
            before, after = rng.sample(names.TEAMS, 2)
            changes = [Change(field="team", before=before, after=after)]
            self.add(during, "user.updated", actor, context, [person.target], changes=changes)

    def _view(self, at: datetime, person: Person, context: Context) -> None:
        incident = self.rng.choice(self.incidents) if self.incidents else None
        if incident is None:
            return
        draw = self.rng.random()
        if draw < 0.86:
            self.add(at, "incident.viewed", person.actor, context, [incident])
        elif draw < 0.95:
            self.add(at, "incident.commented", person.actor, context, [incident])
        elif draw < 0.98:
            self.add(at, "incident.acknowledged", person.actor, context, [incident])
        else:
            changes = [Change(field="status", before="acknowledged", after="resolved")]
            self.add(at, "incident.resolved", person.actor, context, [incident], changes=changes)

    def export(self, at: datetime, person: Person, context: Context, rows: int) -> None:
        """An export: made, and fetched a few seconds later."""
        rng = self.rng
        number = rng.randrange(100, 9999)
        kind = rng.choice(("csv", "csv", "csv", "jsonl", "parquet"))
        target = Target(type="export", id=f"exp_{number}", name=f"audit-log-{self.day}-{number}.{kind}")
        facts = {
            "format": kind,
            "rows": rows,
            "sha256": sha256(f"{self.world.seed}:{self.day}:{number}".encode()).hexdigest(),
            "query": rng.choice(names.QUERIES),
        }
        for stage, delay in (("created", 0.0), ("fetched", rng.uniform(1, 20))):
            moment = at + timedelta(seconds=delay)
            self.add(moment, "export.downloaded", person.actor, context, [target], metadata=facts | {"stage": stage})

    def _staff(self) -> None:
        """Who joins gets an account that morning; the account of who leaves is switched off."""
        for person in self.world.people:
            admin = self.rng.choice(self.world.admins)
            at = admin.midnight(self.day).astimezone(UTC) + timedelta(hours=self.rng.uniform(7, 8))
            if person.hired == self.day:
                role = {"role": person.role}
                self.add(at, "user.created", admin.actor, self.session(admin), [person.target], metadata=role)
            if person.left == self.day:
                self.add(at, "user.deactivated", admin.actor, self.session(admin), [person.target])

    def _administer(self) -> None:
        rng = self.rng
        admin = rng.choice(self.world.admins)
        context = self.session(admin)
        at = admin.midnight(self.day).astimezone(UTC) + timedelta(hours=rng.uniform(9, 17))
        whom = rng.choice(
            [person for person in self.world.people[len(self.world.admins) :] if person.is_here(self.day)]
        )
        kind = rng.choices(
            ("settings", "role", "updated", "key", "key_gone", "made", "gone", "oidc", "session"),
            (20, 6, 24, 12, 8, 7, 5, 2, 16),
        )[0]
        if kind == "settings":
            section, title, field, values = rng.choice(names.SETTINGS)
            before, after = rng.sample(values, 2)
            target = Target(type="settings", id=section, name=title)
            self.add(at, "settings.updated", admin.actor, context, [target], changes=[Change(field, before, after)])
        elif kind == "role":
            before, after = ("member", "auditor") if whom.role == "auditor" else ("auditor", "member")
            changes = [Change("role", before, after)]
            self.add(at, "user.role_changed", admin.actor, context, [whom.target], changes=changes)
        elif kind == "updated":
            before, after = rng.sample(names.TEAMS, 2)
            changes = [Change("team", before, after)]
            self.add(at, "user.updated", admin.actor, context, [whom.target], changes=changes)
        elif kind in ("key", "key_gone"):
            name = rng.choice(names.KEYS)
            target = Target(type="api_key", id=f"{rng.getrandbits(32):08x}", name=name)
            action = "api_key.created" if kind == "key" else "api_key.revoked"
            metadata = {"scopes": ["events:write"], "source": name} if kind == "key" else {}
            self.add(at, action, admin.actor, context, [target], metadata=metadata)
        elif kind in ("made", "gone"):
            place = rng.randrange(len(names.INTEGRATIONS))
            target = Target(type="integration", id=f"int_{place + 1}", name=names.INTEGRATIONS[place])
            action = "integration.created" if kind == "made" else "integration.deleted"
            self.add(at, action, admin.actor, context, [target])
        elif kind == "oidc":
            target = Target(type="oidc_provider", id="oidc_1", name="Keycloak")
            changes = [Change("client_secret", "(hidden)", "(hidden)")]
            self.add(at, "oidc.configured", admin.actor, context, [target], changes=changes)
        else:
            self.add(at, "session.revoked", admin.actor, context, [whom.target], metadata={"reason": "lost_device"})

    def _moments(self, count: int) -> Iterator[datetime]:
        for _ in range(count):
            yield self.start + timedelta(microseconds=self.rng.randrange(86_400_000_000))

    def _programs(self) -> None:
        rng, programs = self.rng, self.world.programs
        quiet = 0.25 if self.is_weekend else 1.0
        billing = programs["billing"]
        for at in self._moments(int(rng.uniform(330, 430))):
            customer = rng.randrange(len(names.CUSTOMERS))
            target = Target(type="customer", id=f"cus_{customer + 301}", name=names.CUSTOMERS[customer])
            draw = rng.random()
            amount = {"amount_cents": rng.randrange(900, 250_000), "currency": "EUR"}
            action = "invoice.paid" if draw < 0.72 else "subscription.changed" if draw < 0.9 else "payment.refused"
            self.add(
                at, action, billing.actor, billing.context, [target], metadata=amount,
                outcome="failure" if action == "payment.refused" else "success",
                source="billing", tenant=names.TENANTS[customer % len(names.TENANTS)],
            )  # fmt: skip
        grafana = programs["grafana"]
        for at in self._moments(int(rng.uniform(150, 190))):
            if self.incidents:
                self.add(
                    at,
                    "incident.viewed",
                    grafana.actor,
                    grafana.context,
                    [rng.choice(self.incidents)],
                    source="grafana",
                )
        runner = programs["ci"]
        for at in self._moments(int(rng.uniform(170, 240) * quiet)):
            repository = rng.choice(names.REPOSITORIES)
            target = Target(type="repository", id=f"northwind/{repository}", name=repository)
            fine = rng.random() < 0.88
            action = rng.choice(("build.finished", "build.finished", "deployment.finished"))
            metadata = {"commit": f"{rng.getrandbits(160):040x}", "duration_s": rng.randrange(20, 1400)}
            self.add(at, action, runner.actor, runner.context, [target], metadata=metadata, source="ci",
                     outcome="success" if fine else "failure")  # fmt: skip
        warehouse = programs["warehouse"]
        for at in self._moments(int(rng.uniform(90, 130) * (quiet + 0.3))):
            table = rng.choice(names.TABLES)
            target = Target(type="table", id=f"analytics.{table}", name=table)
            self.add(at, "query.executed", warehouse.actor, warehouse.context, [target], source="warehouse",
                     metadata={"rows": int(rng.lognormvariate(8, 2)), "duration_ms": rng.randrange(8, 9000)})  # fmt: skip
        gateway = programs["vpn"]
        for at in self._moments(int(rng.uniform(60, 90) * quiet)):
            person = rng.choice(self.world.people)
            inside = Context(
                ip=f"10.8.{rng.randrange(4)}.{rng.randrange(2, 250)}", user_agent=gateway.context.user_agent
            )
            self.add(at, "vpn.connected", person.actor, inside, [Target(type="network", id="vpn-1", name="Office VPN")],
                     source="vpn")  # fmt: skip

    def _night(self) -> None:
        """The nightly retention, which in this company finds something every day."""
        at = self.start + timedelta(hours=3, seconds=self.rng.uniform(0, 30))
        count = self.rng.randrange(1500, 3200)
        system = Actor(type="system", id="retention", name="Nightly retention")
        target = Target(type="audit_log", id="audit_log", name=f"{count:,} events")
        metadata = {"events": count, "retention_days": 365}
        self.add(at, "retention.pruned", system, Context(), [target], metadata=metadata)
        if self.day.weekday() == 0:
            admin = self.world.admins[0]
            actor = Actor(type="os_user", id=f"{(admin.actor.email or '').partition('.')[0]}@ops-1", name="ops")
            imported = Target(type="import", id="cloudtrail", name="1,204 CloudTrail records from 31 files")
            facts = {"files": 31, "accepted": 1204, "duplicates": 0, "conflicts": 0, "rejected": 0}
            self.add(at + timedelta(hours=5), "events.imported", actor, Context(), [imported], metadata=facts)
            self._tending(at + timedelta(hours=5, minutes=20), actor)
            for moment, action, targets, more in rare_doings(self.rng, at + timedelta(hours=6)):
                self.add(moment, action, admin.actor, self.session(admin), targets, **more)

    def _tending(self, at: datetime, operator: Actor) -> None:
        """What the operator does at the command line on a Monday: look, verify, tidy up."""
        log = Target(type="audit_log", id="audit_log", name="Audit log")
        self.add(at, "audit_log.viewed", operator, Context(), [log], metadata={"view": "search"})
        self.add(at + timedelta(minutes=2), "audit_log.verified", operator, Context(), [log], metadata={"problems": 0})
        cleaned = {"sessions": self.rng.randrange(5, 40), "exports": self.rng.randrange(4)}
        workspace = Target(type="cleanup", id="cleanup", name="Standard cleanup")
        self.add(at + timedelta(minutes=6), "cleanup.finished", operator, Context(), [workspace], metadata=cleaned)
        if self.day.day <= 7:
            index = Target(type="search_index", id="search_index", name="Search index")
            self.add(at + timedelta(minutes=9), "search.reindexed", operator, Context(), [index])
