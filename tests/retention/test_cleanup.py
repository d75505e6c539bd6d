"""The standard cleanup removes what the workspace left behind, and cannot touch an audit event."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test import Client

from opssentinal.events.model import Actor, Context
from opssentinal.exports import services
from opssentinal.exports.models import Export
from opssentinal.ledger import reader
from opssentinal.query import Filter
from opssentinal.retention import cleanup, jobs
from opssentinal.retention.models import RetentionRun
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences, update_preferences
from tests.retention.conftest import NOON, days_ago, record_events
from tests.workspace.conftest import unwritable

Check = Callable[[], None]
ALICE = Actor(type="user", id="user_1", name="Alice")
LEDGER_TABLES = ("ledger_head", "ledger_bundle", "ledger_tile", "ledger_source", "ledger_event_id", "ledger_held_event")


def session(expired_at: datetime) -> str:
    store = SessionStore()
    store.create()
    Session.objects.filter(pk=store.session_key).update(expire_date=expired_at)
    return str(store.session_key)


def ledger_bytes() -> dict[str, list[tuple[Any, ...]]]:
    """Every byte of the log's tables."""
    found = {}
    with connection.cursor() as cursor:
        for table in LEDGER_TABLES:
            cursor.execute(f"SELECT * FROM {table}")
            found[table] = sorted((tuple(row) for row in cursor.fetchall()), key=repr)
    return found


def ready_export(expires_at: datetime) -> Export:
    export = services.create_export(
        ALICE, Context(), services.Principal("user", "1"), Filter(), "csv", now=expires_at - timedelta(days=7)
    )
    export.path.write_bytes(b"x")
    Export.objects.filter(pk=export.pk).update(status="ready", bytes=1, sha256="0" * 64, expires_at=expires_at)
    return export


def test_the_standard_cleanup_cannot_touch_an_audit_event(ledger: Check) -> None:
    """With everything else due and the most aggressive settings there are, the log stays the same byte for byte."""
    update_preferences(ALICE, Context(), "cleanup", cleanup_sessions_days=1, cleanup_exports_days=1)
    update_preferences(ALICE, Context(), "data_retention", audit_retention_days=30)
    record_events(5000, days_ago(20_000))
    gone = session(days_ago(1000))
    export = ready_export(days_ago(1000))
    before = ledger_bytes()
    assert len(before["ledger_bundle"]) > 1
    run = jobs.run_cleanup(now=NOON + timedelta(days=100_000))
    assert (run.error, run.counts["sessions"], run.counts["exports"]) == ("", 1, 1)
    assert not Session.objects.filter(pk=gone).exists()
    assert not export.path.exists()
    assert ledger_bytes() == before
    ledger()


def test_the_code_of_the_standard_cleanup_knows_no_ledger() -> None:
    """It imports nothing of the ledger, so that no later change makes it reach an event unnoticed."""
    tree = ast.parse(Path(cleanup.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [name for name in imported if name and "ledger" in name]
    assert "DELETE" not in Path(cleanup.__file__).read_text()


def test_only_expired_sessions_go_and_only_after_their_days(ledger: Check) -> None:
    """A session that still runs, or expired yesterday, stays; so nobody is signed out."""
    update_preferences(ALICE, Context(), "cleanup", cleanup_sessions_days=2)
    running, fresh, old = session(NOON + timedelta(days=1)), session(days_ago(1)), session(days_ago(3))
    assert jobs.run_cleanup(now=NOON).counts["sessions"] == 1
    left = set(Session.objects.values_list("session_key", flat=True))
    assert left == {running, fresh}
    assert old not in left


def test_the_list_of_sessions_follows(admin: User) -> None:
    """A session that is gone is no longer listed as one of its owner's."""
    from allauth.usersessions.models import UserSession

    key = session(days_ago(10))
    listed = UserSession.objects.create(user=admin, session_key=key, ip="203.0.113.9", user_agent="curl")
    UserSession.objects.filter(pk=listed.pk).update(created_at=days_ago(20))
    jobs.run_cleanup(now=NOON)
    assert not UserSession.objects.filter(pk=listed.pk).exists()


def test_files_expire_and_rows_stay(ledger: Check) -> None:
    """The file of an export whose time is over is deleted; who exported what stays; one still in time keeps its file."""
    over, in_time = ready_export(NOON), ready_export(NOON + timedelta(minutes=1))
    assert jobs.run_cleanup(now=NOON).counts["exports"] == 1
    over.refresh_from_db()
    in_time.refresh_from_db()
    assert (over.status, over.path.exists()) == ("expired", False)
    assert (in_time.status, in_time.path.exists()) == ("ready", True)


def test_every_write_takes_its_turn(ledger: Check) -> None:
    """On SQLite only a transaction waits its turn among the writers, so no row is written outside of one."""
    outside: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.split(maxsplit=1)[0] in ("INSERT", "UPDATE", "DELETE") and not connection.in_atomic_block:
            outside.append(sql)
        return execute(sql, params, many, context)

    session(days_ago(1000))
    ready_export(days_ago(1000))
    record_events(2000, days_ago(900))
    with connection.execute_wrapper(watch):
        jobs.run_cleanup(now=NOON)
        jobs.run_cleanup(ALICE, now=NOON)
        jobs.run_prune(ALICE, now=NOON)
    assert outside == []


def test_once_a_night(ledger: Check) -> None:
    """The nightly cleanup runs once a night, whatever the audit retention does."""
    assert jobs.cleanup_if_due(NOON) is not None
    assert jobs.cleanup_if_due(NOON + timedelta(hours=1)) is None
    assert jobs.cleanup_if_due(NOON + timedelta(days=1)) is not None


def test_the_command(ledger: Check) -> None:
    """`cleanup` says how much it deleted, in words or as JSON; with `--dry-run` how much it would, and deletes nothing."""
    session(days_ago(1000))
    shown = io.StringIO()
    call_command("cleanup", "--dry-run", "--json", stdout=shown)
    call_command("cleanup", "--dry-run", stdout=shown)
    dry, text = shown.getvalue().splitlines()
    assert json.loads(dry).items() >= {"dry_run": True, "sessions": 1, "exports": 0}.items()
    assert text.startswith("Would delete 1 session, 0 export files")
    assert Session.objects.count() == 1
    shown = io.StringIO()
    call_command("cleanup", "--json", stdout=shown)
    assert json.loads(shown.getvalue()) == json.loads(dry) | {"dry_run": False}
    assert Session.objects.count() == 0
    assert reader.newest(1)[0].metadata == {key: n for key, n in json.loads(dry).items() if key != "dry_run"}


@pytest.mark.parametrize("unwritten", [("ledger_bundle",), ("retention_retentionrun", "UPDATE")])
def test_a_run_ends_only_together_with_its_record(ledger: Check, unwritten: tuple[str, ...]) -> None:
    """Where either cannot be written, what somebody asked for is not finished and nothing is recorded."""
    with unwritable(*unwritten), pytest.raises(DatabaseError):
        jobs.run_cleanup(ALICE, now=NOON)
    assert RetentionRun.objects.get().finished_at is None
    assert reader.head().size == 0
    jobs.run_cleanup(ALICE, now=NOON)
    assert [event.action for event in reader.newest(10)] == ["cleanup.finished"]


@pytest.mark.parametrize("table", ["ledger_bundle", "workspace_storedpreferences"])
def test_the_settings_change_only_together_with_their_record(admin: User, table: str) -> None:
    """On the page: where either cannot be written there is neither."""
    client = Client(raise_request_exception=False)
    client.force_login(admin)
    days = {"cleanup_sessions_days": "3", "cleanup_exports_days": "30", "cleanup_deliveries_days": "5"}
    before = preferences()
    with unwritable(table):
        assert client.post("/settings/data-retention/cleanup/", days).status_code == 503
    assert preferences() == before
    assert reader.head().size == 0
    assert client.post("/settings/data-retention/cleanup/", days).status_code == 302
    assert [event.action for event in reader.newest(10)] == ["settings.updated"]


def test_what_the_preview_counts_is_what_goes(ledger: Check) -> None:
    """Sessions and files, some of which are over; the preview changes nothing."""
    for days in (0.5, 2, 3):
        session(days_ago(days))
    ready_export(NOON)
    ready_export(NOON + timedelta(minutes=1))
    expected = cleanup.preview(NOON)
    assert (expected["sessions"], expected["exports"]) == (2, 1)
    assert cleanup.preview(NOON) == expected == jobs.run_cleanup(now=NOON).counts
    assert set(cleanup.preview(NOON).values()) == {0}


def test_the_settings_are_changed_on_the_page(admin_client: Client) -> None:
    """The cleanup's own form changes the cleanup's settings and nothing of the audit retention."""
    days = {"cleanup_sessions_days": "3", "cleanup_exports_days": "30", "cleanup_deliveries_days": "5"}
    answer = admin_client.post("/settings/data-retention/cleanup/", days | {"cleanup_incidents_days": "100"})
    assert answer.status_code == 302
    now = preferences()
    assert (now.cleanup_deliveries_days, now.cleanup_incidents_days) == (5, 100)
    assert (
        admin_client.post("/settings/data-retention/cleanup/", days | {"cleanup_incidents_days": ""}).status_code == 302
    )
    now = preferences()
    assert (now.cleanup_sessions_days, now.cleanup_exports_days, now.audit_retention_days) == (3, 30, 365)
    assert now.cleanup_incidents_days is None
    refused = admin_client.post("/settings/data-retention/cleanup/", days | {"cleanup_sessions_days": "0"})
    assert refused.status_code == 400
    assert preferences() == now
