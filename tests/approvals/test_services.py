"""Asking, deciding and what the log says of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from urllib.parse import urlsplit

import pytest
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.db import DatabaseError, connection
from django.test import Client
from django.utils import timezone

from opssentinal.approvals import services
from opssentinal.approvals.models import AdminTerm, Approval
from opssentinal.errors import Conflict, Forbidden, NotFound, OpsSentinalError
from opssentinal.events.model import Context
from opssentinal.ledger.recording import recording
from opssentinal.workspace import accounts, second_factor
from opssentinal.workspace.links import password_link
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences, update_preferences
from opssentinal.workspace.principals import user_actor
from tests.approvals.conftest import PASSWORD, ask, recorded
from tests.workspace.conftest import away, unwritable

Check = Callable[[], None]


def test_another_admin_approves_and_it_happens(alice: User, carol: User, ledger: Check) -> None:
    """Granting records who approved and carries the change out as that of who asked, in one transaction."""
    approval = ask(alice)
    assert preferences().workspace_name == "OpsSentinal"
    services.grant(approval.pk, carol, Context(ip="203.0.113.9"))
    assert preferences().workspace_name == "Acme"
    requested, granted, updated = recorded()
    assert [requested.action, granted.action, updated.action] == [
        "approval.requested", "approval.granted", "settings.updated",
    ]  # fmt: skip
    assert requested.recorded_at < granted.recorded_at == updated.recorded_at
    assert requested.actor is not None
    assert granted.actor is not None
    assert (requested.actor.name, granted.actor.name) == ("Alice", "Carol")
    assert requested.targets == granted.targets
    assert requested.targets[0].name == "Call it Acme"
    assert requested.metadata["after"] == "Acme"
    assert granted.context.ip == "203.0.113.9"
    approval.refresh_from_db()
    assert (approval.state, approval.decided_by) == ("granted", carol)
    ledger()


def test_nobody_approves_their_own_request(alice: User, carol: User) -> None:
    """Who asked can neither approve nor reject; nothing changes and nothing is recorded."""
    approval = ask(alice)
    for act in (services.grant, services.reject):
        with pytest.raises(Forbidden):
            act(approval.pk, alice, Context())
    approval.refresh_from_db()
    assert approval.state == "waiting"
    assert len(recorded()) == 1


def test_asked_for_by_a_clock_that_was_ahead(alice: User, carol: User) -> None:
    """Nobody grants it, since everybody seems to have been an admin before; it can be rejected. Two clocks may differ a little."""
    ahead = timezone.now() + timedelta(days=3)
    approval = ask(alice)
    Approval.objects.update(requested_at=ahead, expires_at=ahead + services.WAITS)
    with pytest.raises(Conflict, match="has not reached"):
        services.grant(approval.pk, carol, Context())
    assert preferences().workspace_name == "OpsSentinal"
    services.reject(approval.pk, carol, Context())
    again = ask(alice)
    Approval.objects.filter(pk=again.pk).update(requested_at=timezone.now() + timedelta(seconds=20))
    services.grant(again.pk, carol, Context())
    assert preferences().workspace_name == "Acme"


def test_what_a_clock_that_was_ahead_asked_for_ends(alice: User) -> None:
    """Before that time has come, after which whoever became an admin meanwhile would seem to have been one before."""
    approval = ask(alice)
    ahead = timezone.now() + timedelta(days=3)
    Approval.objects.update(requested_at=ahead, expires_at=ahead + services.WAITS)
    assert services.expire_overdue() == 1
    mallory = User.objects.create_user("mallory@example.com", PASSWORD, role="admin")
    with pytest.raises(Conflict, match="expired"):
        services.grant(approval.pk, mallory, Context(), now=ahead + timedelta(minutes=2))
    (event,) = recorded("approval.cancelled")
    assert event.metadata["reason"] == "asked_in_the_future"


@pytest.mark.parametrize(
    "changed", [{"role": "member"}, {"is_active": False}, {"expires_at": timezone.now() - timedelta(days=1)}]
)
def test_who_is_no_active_admin_any_more_decides_nothing(alice: User, carol: User, changed: dict[str, object]) -> None:
    """Demoted, deactivated or expired since: refused, even where the account object at hand says otherwise."""
    approval = ask(alice)
    User.objects.filter(pk=carol.pk).update(**changed)
    for act in (services.grant, services.reject):
        with pytest.raises(Forbidden):
            act(approval.pk, carol, Context())
    assert preferences().workspace_name == "OpsSentinal"


def _created(alice: User, carol: User) -> User:
    return accounts.create_account(
        user_actor(alice), Context(), email="dora@example.com", name="Dora", role="admin", password=PASSWORD
    )


def _promoted(alice: User, carol: User) -> User:
    dora = User.objects.create_user("dora@example.com", PASSWORD)
    with recording() as record:
        accounts.change_role(record, dora, "admin", user_actor(alice), Context())
    return dora


def _promoted_anew(alice: User, carol: User) -> User:
    with recording() as record:
        accounts.change_role(record, carol, "member", user_actor(alice), Context())
        accounts.change_role(record, carol, "admin", user_actor(alice), Context())
    return carol


def _reactivated(alice: User, carol: User) -> User:
    with recording() as record:
        accounts.deactivate(record, carol, user_actor(alice), Context())
        accounts.reactivate(record, carol, user_actor(alice), Context())
    return carol


def _sent_a_link(alice: User, carol: User) -> User:
    with recording() as record:
        accounts.issue_link(record, carol, user_actor(alice), Context(), purpose="reset")
    return carol


def _used_a_link(alice: User, carol: User) -> User:
    client = Client()
    page = client.get(urlsplit(password_link(carol)).path, follow=True)
    new = {"password1": "a wholly different passphrase", "password2": "a wholly different passphrase"}
    assert client.post(page.request["PATH_INFO"], new)["Location"] == "/accounts/password/done/"
    return carol


def _at_another_address(alice: User, carol: User) -> User:
    with recording() as record:
        accounts.change_account(record, carol, user_actor(alice), Context(), email="alice@example.org")
    return carol


def _without_factor(alice: User, carol: User) -> User:
    with recording() as record:
        assert second_factor.reset(record, carol, user_actor(alice), Context())
    return carol


@pytest.mark.parametrize(
    "changed",
    [
        _created,
        _promoted,
        _promoted_anew,
        _reactivated,
        _sent_a_link,
        _used_a_link,
        _at_another_address,
        _without_factor,
    ],
)
def test_who_was_let_in_after_it_was_asked_does_not_approve(
    alice: User, carol: User, changed: Callable[[User, User], User], ledger: Check
) -> None:
    """Whoever asks could have made, promoted or taken over the approver; what is asked after that, it approves."""
    Authenticator.objects.create(user=carol, type=Authenticator.Type.TOTP, data={})
    _sent_a_link(alice, carol)
    approval = ask(alice)
    approver = changed(alice, carol)
    with pytest.raises(Forbidden, match="after this was asked for"):
        services.grant(approval.pk, approver, Context())
    assert preferences().workspace_name == "OpsSentinal"
    services.reject(approval.pk, approver, Context())
    services.grant(ask(alice).pk, approver, Context())
    assert preferences().workspace_name == "Acme"
    ledger()


def test_what_does_not_let_anybody_in_changes_nothing(alice: User, carol: User) -> None:
    """Signing in, another name and the same role leave the approver who it was."""
    approval = ask(alice)
    carol.last_login = timezone.now()
    carol.save()
    with recording() as record:
        accounts.change_account(record, carol, user_actor(alice), Context(), name="Carola")
        accounts.change_role(record, carol, "admin", user_actor(alice), Context())
    services.grant(approval.pk, carol, Context())
    assert preferences().workspace_name == "Acme"


def test_a_role_and_since_when_stand_or_fall_together(alice: User, carol: User) -> None:
    """What is undone of an account is undone of its term too, and the other way round."""
    with away("ledger_head"), pytest.raises((DatabaseError, OpsSentinalError)), recording() as record:
        accounts.change_role(record, carol, "member", user_actor(alice), Context())
    assert AdminTerm.objects.get(user=carol).until is None
    with away("approvals_adminterm"), pytest.raises(DatabaseError), recording() as record:
        accounts.change_role(record, carol, "member", user_actor(alice), Context())
    carol.refresh_from_db()
    assert carol.is_admin


def test_the_admins_that_are_there_already_can_approve(alice: User, carol: User, bob: User) -> None:
    """A workspace that is brought up to date knows its admins from when their accounts were made; nobody else is one."""
    AdminTerm.objects.all().delete()
    migration = import_module("opssentinal.approvals.migrations.0002_admin_term")
    migration.begin_terms(apps, None)
    assert set(AdminTerm.objects.values_list("user", "since")) == {(u.pk, u.date_joined) for u in (alice, carol)}
    services.grant(ask(alice).pk, carol, Context())


def test_both_have_to_be_admins_when_it_is_granted(alice: User, carol: User) -> None:
    """A request of somebody who was deactivated cannot be granted, but rejected."""
    approval = ask(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    with pytest.raises(Conflict, match="no active admin any more"):
        services.grant(approval.pk, carol, Context())
    services.reject(approval.pk, carol, Context())
    assert preferences().workspace_name == "OpsSentinal"
    assert [event.action for event in recorded()] == ["approval.requested", "approval.rejected"]


def test_a_request_is_decided_once(alice: User, carol: User) -> None:
    """What was rejected, withdrawn or granted takes no further decision."""
    first = ask(alice)
    services.reject(first.pk, carol, Context())
    second = ask(alice)
    with pytest.raises(Forbidden):
        services.withdraw(second.pk, carol, Context())
    services.withdraw(second.pk, alice, Context())
    third = ask(alice)
    services.grant(third.pk, carol, Context())
    for approval in (first, second, third):
        for act, user in ((services.grant, carol), (services.reject, carol), (services.withdraw, alice)):
            with pytest.raises(Conflict):
                act(approval.pk, user, Context())
    with pytest.raises(NotFound):
        services.grant(10_000, carol, Context())
    actions = [event.action for event in recorded("approval.")]
    assert actions == [
        "approval.requested", "approval.rejected", "approval.requested", "approval.cancelled", "approval.requested",
        "approval.granted",
    ]  # fmt: skip


def at_once(approval: Approval, granting: User, rejecting: User) -> list[str]:
    """Let two admins decide in the same moment; return what each of them met."""
    together = threading.Barrier(2)
    met: list[str] = []

    def decide(act: Callable[..., Approval], user: User) -> None:
        try:
            together.wait(10)
            act(approval.pk, user, Context())
            met.append("won")
        except Conflict:
            met.append("lost")
        finally:
            connection.close()

    threads = [
        threading.Thread(target=decide, args=(services.grant, granting)),
        threading.Thread(target=decide, args=(services.reject, rejecting)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return met


def test_of_two_decisions_at_once_one_wins(alice: User, carol: User, ledger: Check) -> None:
    """Carol approves while Dan rejects: one of them is told that it is too late, and the log has one decision."""
    dan = User.objects.create_user("dan@example.com", "correct horse battery", name="Dan", role="admin")
    for number in range(5):
        approval = ask(alice, after=f"Acme {number}")
        assert sorted(at_once(approval, carol, dan)) == ["lost", "won"]
        approval.refresh_from_db()
        assert (preferences().workspace_name == approval.payload["after"]) == (approval.state == "granted")
    decisions = [event for event in recorded("approval.") if event.action != "approval.requested"]
    assert len(decisions) == 5
    ledger()


def test_a_change_that_cannot_be_carried_out_is_not_granted(alice: User, carol: User) -> None:
    """Where it is not any more as it was when asked, granting fails as a whole; the request still waits."""
    approval = ask(alice)
    update_preferences(user_actor(alice), Context(), "general", workspace_name="Other")
    with pytest.raises(Conflict, match="another name"):
        services.grant(approval.pk, carol, Context())
    approval.refresh_from_db()
    assert approval.state == "waiting"
    assert recorded("approval.granted") == []


def test_without_a_record_nothing_happens(alice: User, carol: User) -> None:
    """If the ledger cannot be written, no request is made, decided, withdrawn or ended, and nothing is carried out."""
    with away("ledger_head"), pytest.raises((DatabaseError, OpsSentinalError)):
        ask(alice)
    assert not Approval.objects.exists()
    approval = ask(alice)
    later = timezone.now() + services.WAITS
    for act in (
        lambda: services.grant(approval.pk, carol, Context()),
        lambda: services.reject(approval.pk, carol, Context()),
        lambda: services.withdraw(approval.pk, alice, Context()),
        lambda: services.expire_overdue(later),
    ):
        with away("ledger_head"), pytest.raises((DatabaseError, OpsSentinalError)):
            act()
        approval.refresh_from_db()
        assert approval.state == "waiting"
    assert preferences().workspace_name == "OpsSentinal"


def test_without_the_change_there_is_no_record(alice: User, carol: User) -> None:
    """If the row cannot be written, the log does not say that it was."""
    approval = ask(alice)
    later = timezone.now() + services.WAITS
    with unwritable("approvals_approval"):
        for act in (
            lambda: services.grant(approval.pk, carol, Context()),
            lambda: services.reject(approval.pk, carol, Context()),
            lambda: services.withdraw(approval.pk, alice, Context()),
            lambda: services.expire_overdue(later),
            lambda: ask(alice, subject="other"),
        ):
            with pytest.raises(DatabaseError):
                act()
    assert [event.action for event in recorded()] == ["approval.requested"]


def test_one_request_of_a_kind_and_subject_waits(alice: User, carol: User) -> None:
    """The same again is refused while one waits; another subject, or after a decision, is not."""
    first = ask(alice)
    with pytest.raises(Conflict, match="waits for approval already"):
        ask(carol)
    ask(carol, subject="other")
    services.reject(first.pk, carol, Context())
    ask(alice)


def test_a_request_expires(alice: User, carol: User) -> None:
    """After seven days it can be neither granted nor rejected; the end is recorded once, by the system."""
    approval = ask(alice)
    later = approval.requested_at + services.WAITS
    assert services.expire_overdue(later - timedelta(seconds=1)) == 0
    for act in (services.grant, services.reject):
        with pytest.raises(Conflict, match="expired"):
            act(approval.pk, carol, Context(), now=later)
    assert services.waiting(later).count() == 0
    assert services.expire_overdue(later) == 1
    assert services.expire_overdue(later) == 0
    (event,) = recorded("approval.cancelled")
    assert event.metadata["reason"] == "expired"
    assert event.actor is not None
    assert event.actor.type == "system"


def test_who_needs_approval(alice: User, bob: User) -> None:
    """One admin needs none; two do; not where the second is off, demoted or expired, nor where the rule is off."""
    assert not services.are_needed()
    carol = User.objects.create_user("carol@example.com", "correct horse battery", role="admin")
    assert services.are_needed()
    for changed in ({"is_active": False}, {"role": "auditor"}, {"expires_at": timezone.now()}):
        User.objects.filter(pk=carol.pk).update(**changed)
        assert not services.are_needed(), changed
        User.objects.filter(pk=carol.pk).update(is_active=True, role="admin", expires_at=None)
    update_preferences(user_actor(alice), Context(), "data_retention", second_admin_approves=False)
    assert not services.are_needed()


def test_a_kind_that_nothing_carries_out_cannot_be_asked_for(alice: User) -> None:
    """A mistake of ours shows when asking, not when somebody approves a week later."""
    with pytest.raises(ValueError, match="nothing carries out"):
        services.ask(lambda event: None, "tests.unknown", "?", {}, user=alice, context=Context())
