"""Changing accounts: each change with its record, and a workspace that always keeps an admin who can sign in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.db import connections
from django.utils import timezone

from opssentinal.errors import Conflict, InvalidInput, NotFound
from opssentinal.events.model import Actor, Change, Context
from opssentinal.ledger.recording import recording
from opssentinal.workspace import accounts
from opssentinal.workspace.models import Role, User
from tests.workspace.conftest import PASSWORD, away, browser, events, is_signed_in, sign_in, signed_in

Broken = Callable[[], AbstractContextManager[None]]
SOMEBODY = Actor(type="os_user", id="root@host", name="root")
HERE = Context(ip="203.0.113.9")


def change_role(user: User, role: str, **more: Any) -> bool:
    with recording() as record:
        return accounts.change_role(record, user, role, SOMEBODY, HERE, **more)


def change(user: User, **changes: Any) -> bool:
    with recording() as record:
        return accounts.change_account(record, user, SOMEBODY, HERE, **changes)


def deactivate(user: User) -> bool:
    with recording() as record:
        return accounts.deactivate(record, user, SOMEBODY, HERE)


def reactivate(user: User) -> bool:
    with recording() as record:
        return accounts.reactivate(record, user, SOMEBODY, HERE)


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


def admin(email: str, **fields: Any) -> User:
    user = User.objects.create_user(email, PASSWORD, role=Role.ADMIN)
    User.objects.filter(pk=user.pk).update(**fields)
    return fresh(user)


def test_a_role_changes_with_its_record(alice: User, bob: User) -> None:
    """user.role_changed tells before, after and what brought it about; the same role again is no change."""
    assert change_role(bob, "auditor", metadata={"method": "sso"})
    (event,) = events()
    assert (event.action, event.actor, event.context) == ("user.role_changed", SOMEBODY, HERE)
    assert event.changes == [Change(field="role", before="member", after="auditor")]
    assert event.metadata == {"method": "sso"}
    assert (event.targets[0].id, event.targets[0].email) == (f"user_{bob.pk}", "bob@example.com")
    assert bob.role == fresh(bob).role == "auditor"
    assert not change_role(bob, "auditor")
    with pytest.raises(InvalidInput, match="no role"):
        change_role(bob, "owner")
    assert len(events()) == 1


def test_an_account_that_is_not_there_is_not_found(alice: User) -> None:
    """Nothing is made of it."""
    with pytest.raises(NotFound):
        change_role(User(pk=alice.pk + 1000, email="x@example.com"), "admin")


@pytest.mark.parametrize(
    "loses",
    [
        lambda user: change_role(user, "member"),
        deactivate,
        lambda user: change(user, expires_at=timezone.now() + timedelta(days=900)),
        lambda user: change(user, expires_at=timezone.now() - timedelta(days=1)),
    ],
    ids=["demoted", "deactivated", "given an end", "ended"],
)
@pytest.mark.parametrize(
    "other",
    [
        {"role": "member"},
        {"is_active": False},
        {"expires_at": timezone.now() + timedelta(days=1)},
        {"password": "!never set", "last_login": None},
        {"password": "!single sign-on", "last_login": timezone.now()},
    ],
    ids=[
        "a member",
        "a deactivated admin",
        "an admin with an end",
        "an invited admin",
        "an admin of single sign-on, which is off",
    ],
)
def test_the_last_admin_stays(alice: User, loses: Callable[[User], bool], other: dict[str, Any]) -> None:
    """Beside no other admin who can sign in for good, nothing takes the last one away, and nothing is recorded."""
    admin("carol@example.com", **other)
    assert accounts.is_last_admin(alice)
    with pytest.raises(Conflict) as refused:
        loses(alice)
    assert refused.value.code == "last_admin"
    now = fresh(alice)
    assert (now.role, now.is_active, now.expires_at) == ("admin", True, None)
    assert events() == []


def test_with_another_admin_one_may_go(alice: User) -> None:
    """Another who has a password is enough."""
    admin("carol@example.com")
    assert not accounts.is_last_admin(alice)
    assert change_role(alice, "member")


def test_other_changes_of_the_last_admin_are_fine(alice: User) -> None:
    """A name, an address, and taking an expiry away."""
    assert change(alice, name="Alicia", email="Alicia@Example.com")
    assert fresh(alice).email == "alicia@example.com"


@pytest.mark.parametrize(
    "leave", [lambda user: change_role(user, "member"), deactivate], ids=["demotion", "deactivation"]
)
def test_of_admins_who_remove_each_other_at_once_one_stays(leave: Callable[[User], bool]) -> None:
    """Five admins, each removed at the same moment: four go, one is refused, and the log tells of four."""
    for turn in range(3):
        User.objects.all().delete()
        everyone = [admin(f"admin{number}@example.com") for number in range(5)]
        before = len(events())
        start, refused = Barrier(len(everyone)), []

        def race(user: User, start: Barrier = start, refused: list[str] = refused) -> None:
            start.wait()
            try:
                leave(user)
            except Conflict as error:
                refused.append(error.code)
            finally:
                connections.close_all()

        racers = [Thread(target=race, args=(user,)) for user in everyone]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert refused == ["last_admin"], turn
        assert User.objects.filter(role="admin", is_active=True).count() == 1
        assert len(events()) - before == 4


def test_fields_change_with_before_and_after(alice: User, bob: User) -> None:
    """user.updated names each field that differs, times as UTC; what stays the same is not a change."""
    until = timezone.now().replace(microsecond=0) + timedelta(days=30)
    assert change(bob, name=" Robert ", email="Bob@Example.com", expires_at=until)
    (event,) = events()
    assert event.action == "user.updated"
    assert event.changes == [
        Change(field="name", before="Bob", after="Robert"),
        Change(field="expires_at", after=until.isoformat().replace("+00:00", "Z")),
    ]
    assert not change(bob, name="Robert")
    assert len(events()) == 1


def test_faults_of_a_change_are_told_by_field(alice: User, bob: User) -> None:
    """A taken or bad address, and a period that ends before it begins; nothing changes."""
    now = timezone.now()
    for changes, field in [
        ({"email": "alice@example.com"}, "email"),
        ({"email": "bob"}, "email"),
        ({"name": "x" * 151}, "name"),
        ({"log_from": now, "log_until": now - timedelta(days=1)}, "log_until"),
    ]:
        with pytest.raises(ValidationError) as refused:
            change(fresh(bob), **changes)
        assert list(refused.value.message_dict) == [field]
    with pytest.raises(InvalidInput):
        change(fresh(bob), password="x")
    assert (fresh(bob).name, fresh(bob).email, events()) == ("Bob", "bob@example.com", [])


def test_an_old_address_opens_nothing(alice: User, bob: User) -> None:
    """Neither itself nor as a row that a provider of single sign-on has left."""
    EmailAddress.objects.create(user=bob, email="bob@example.com", verified=True, primary=True)
    assert sign_in(browser(), "bob@example.com").status_code == 302
    change(bob, email="robert@example.com")
    assert sign_in(browser(), "bob@example.com").status_code == 200
    assert sign_in(browser(), "robert@example.com").status_code == 302


def test_a_deactivated_account_is_out_and_stays_out(alice: User, bob: User) -> None:
    """Sessions end at once, signing in looks like a wrong password, and switching it on again opens no old session."""
    client = signed_in("bob@example.com")
    assert deactivate(bob)
    (event,) = events("user.deactivated")
    assert event.metadata == {"sessions_ended": 1}
    assert not is_signed_in(client)
    wrong = sign_in(browser(), "bob@example.com", "not the password").content
    assert "Wrong e-mail address or password." in wrong.decode()
    assert "Wrong e-mail address or password." in sign_in(browser(), "bob@example.com").content.decode()
    assert [event.metadata["reason"] for event in events("login.failure")] == ["inactive", "inactive"]
    assert not deactivate(bob)
    assert reactivate(bob)
    assert not reactivate(bob)
    assert not is_signed_in(client)
    assert len(events("user.deactivated")) == len(events("user.reactivated")) == 1
    assert sign_in(browser(), "bob@example.com").status_code == 302


def test_an_expired_account_is_out_and_stays_out(alice: User, bob: User) -> None:
    """Its time runs out without anybody doing anything: the next request is a stranger's; more time opens no old session."""
    client = signed_in("bob@example.com")
    User.objects.filter(pk=bob.pk).update(expires_at=timezone.now() + timedelta(hours=1))
    assert is_signed_in(client)
    User.objects.filter(pk=bob.pk).update(expires_at=timezone.now())
    assert not is_signed_in(client)
    answer = sign_in(browser(), "bob@example.com")
    assert (answer.status_code, "Wrong e-mail address or password." in answer.content.decode()) == (200, True)
    assert events("login.failure")[-1].metadata == {"method": "password", "reason": "expired"}
    change(bob, expires_at=None)
    assert events()[-1].metadata == {"sessions_ended": 1}
    assert not is_signed_in(client)
    assert sign_in(browser(), "bob@example.com").status_code == 302


@pytest.mark.parametrize(
    ("act", "action"),
    [
        (lambda user: change_role(user, "auditor"), "user.role_changed"),
        (lambda user: change(user, name="Robert"), "user.updated"),
        (deactivate, "user.deactivated"),
    ],
)
def test_an_account_changes_only_together_with_its_record(
    alice: User, bob: User, broken_ledger: Broken, act: Callable[[User], bool], action: str
) -> None:
    """With the ledger broken nothing changes and nobody is signed out; with the accounts broken there is no record."""
    client = signed_in("bob@example.com")
    before = User.objects.filter(pk=bob.pk).values().get()
    with broken_ledger(), pytest.raises(Exception, match="ledger_head"):
        act(bob)
    assert User.objects.filter(pk=bob.pk).values().get() == before
    assert is_signed_in(client)
    with away("workspace_user"), pytest.raises(Exception, match="workspace_user"):
        act(bob)
    assert events(action) == []


def test_an_account_is_switched_on_only_together_with_its_record(alice: User, bob: User, broken_ledger: Broken) -> None:
    """With the ledger broken it stays off."""
    deactivate(bob)
    with broken_ledger(), pytest.raises(Exception, match="ledger_head"):
        reactivate(bob)
    assert not fresh(bob).is_active
    with away("usersessions_usersession"), pytest.raises(Exception, match="usersessions"):
        reactivate(bob)
    assert not fresh(bob).is_active
    assert events("user.reactivated") == []
