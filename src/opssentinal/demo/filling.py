"""Filling a data directory with the demo: once, resumably, and never one that holds anything real.

A mark in the directory says that it is a demo, and with which seed and end it was begun. Events carry ids made from
these, so filling that was interrupted and is run again appends what is missing and nothing twice.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from django.core.management import call_command
from django.db import connection, transaction

from opssentinal.config import DEMO_MARK, Config
from opssentinal.demo.days import Day
from opssentinal.demo.episodes import EPISODES
from opssentinal.demo.world import World, build_world
from opssentinal.errors import Conflict
from opssentinal.events.model import Context, Event
from opssentinal.ledger.append import append
from opssentinal.ledger.reader import head
from opssentinal.workspace.accounts import create_account
from opssentinal.workspace.models import Role, User
from opssentinal.workspace.principals import os_actor

EMAIL = "demo@example.com"
DAYS = 90
BATCH_EVENTS = 4_096


class Mark(msgspec.Struct):
    """What the mark says. `password` is that of the demo account: it stands in the clear beside data that is invented."""

    seed: int
    days: int
    end: datetime
    password: str
    is_complete: bool = False


class Filled(msgspec.Struct):
    """The outcome: the login, how many events were `appended` now, and how many the log has."""

    email: str
    password: str
    appended: int
    size: int
    seconds: float


def fill(
    config: Config,
    *,
    seed: int,
    days: int,
    progress: Callable[[int, int], None] | None = None,
    furnish: Callable[[World, datetime], None] | None = None,
) -> Filled:
    """Make the directory a full demo, or do nothing if it is one. `progress` is told the days done and to do.

    `furnish` is called once the log is full, with the world and its end, to add what rooms beside this one have of it; again
    if it was interrupted.

    Raises Conflict where the database holds accounts or events that are not a demo's, before anything is changed.
    """
    started = time.monotonic()
    mark_path = config.data_dir / DEMO_MARK
    mark = _read_mark(mark_path)
    _refuse_real_data(config, mark)
    if mark is None:
        password = "-".join(secrets.token_hex(2) for _ in range(4))
        mark = Mark(seed=seed, days=days, end=datetime.now(UTC).replace(microsecond=0), password=password)
        _write_mark(mark_path, mark)
    call_command("migrate", verbosity=0, interactive=False)
    appended = 0
    if not (mark.is_complete and head().size):
        if not User.objects.filter(email=EMAIL).exists():
            create_account(
                os_actor(), Context(), email=EMAIL, name="Demo Admin", role=Role.ADMIN.value, password=mark.password
            )
        world = build_world(mark.seed, mark.end.date(), mark.days)
        appended = _append_days(world, mark, progress)
        if furnish is not None:
            furnish(world, mark.end)
        mark.is_complete = True
        _write_mark(mark_path, mark)
    return Filled(EMAIL, mark.password, appended, head().size, time.monotonic() - started)


def events_of(world: World, end: datetime) -> Iterator[tuple[int, list[Event]]]:
    """Day by day, its number and its events in order of time, with the episodes; nothing after `end`."""
    for number in range((world.last_day - world.first_day).days + 1):
        day = Day(world, world.first_day + timedelta(days=number))
        episode = EPISODES.get((world.last_day - day.day).days)
        if episode is not None:
            episode(day)
        yield number, [event for event in day.events() if event.occurred_at is None or event.occurred_at <= end]


def _append_days(world: World, mark: Mark, progress: Callable[[int, int], None] | None) -> int:
    appended = 0
    waiting: list[Event] = []
    for number, events in events_of(world, mark.end):
        waiting += events
        is_last = number + 1 == mark.days
        while len(waiting) >= BATCH_EVENTS or (is_last and waiting):
            batch, waiting = waiting[:BATCH_EVENTS], waiting[BATCH_EVENTS:]
            with transaction.atomic(durable=True):
                receipts = append(batch)
            appended += sum(receipt.status == "accepted" for receipt in receipts)
        if progress is not None:
            progress(number + 1, mark.days)
    return appended


def _refuse_real_data(config: Config, mark: Mark | None) -> None:
    """A database is the demo's if it is empty, or if its directory is marked and it holds the demo's account."""
    if not config.database_url and not (config.data_dir / "opssentinal.sqlite3").exists():
        return
    if "ledger_head" not in connection.introspection.table_names():
        return
    is_empty = not User.objects.exists() and head().size == 0
    if is_empty or (mark is not None and User.objects.filter(email=EMAIL).exists()):
        return
    where = "The database" if config.database_url else str(config.data_dir)
    raise Conflict(
        f"{where} holds real accounts or events; a demo does not belong there.",
        hint="Name an empty folder with OPSSENTINAL_DATA_DIR, or leave it out: the demo then goes to ./demo-data.",
        code="not_a_demo",
    )


def _read_mark(path: Path) -> Mark | None:
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Mark)
    except msgspec.MsgspecError as error:
        raise Conflict(f"{path} is not a demo's mark: {error}.", hint="Remove the folder to begin anew.") from error


def _write_mark(path: Path, mark: Mark) -> None:
    """Replace the mark as a whole; only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(mark)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
