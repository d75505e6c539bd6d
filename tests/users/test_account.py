"""A user's page: every change with its record, every refusal with its reason."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.utils import timezone

from opssentinal.apikeys.authentication import authenticate, forget_cached
from opssentinal.apikeys.services import CreatedKey, create_key
from opssentinal.errors import Conflict, InvalidInput, Unauthenticated
from opssentinal.events.model import Actor, Change, Context
from opssentinal.users import services
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import os_actor, session_reference, user_actor
from tests.form import fields_of
from tests.users.conftest import LIST, edited, page
from tests.workspace.conftest import away, browser, events, is_signed_in, session_key, sign_in, signed_in

Broken = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def carol(alice: User) -> User:
    """Another admin."""
    return User.objects.create_user("carol@example.com", "another horse battery staple", name="Carol", role="admin")


def key_of(user: User) -> CreatedKey:
    forget_cached()
    made = create_key(
        actor=Actor(type="user", id=f"user_{user.pk}"), context=Context(), name="Billing", source="billing",
        scopes=["events:write"], created_by=user,
    )  # fmt: skip
    assert authenticate(made.token)
    return made


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


def text(answer: Any) -> str:
    return str(answer.content.decode())


def test_the_page_shows_the_account(admin: Client, bob: User) -> None:
    """Name, address, role, state, and where it is signed in."""
    signed_in("bob@example.com", "198.51.100.4")
    shown = text(admin.get(page(bob)))
    for part in ("Bob", 'value="bob@example.com"', "Member", "active", "198.51.100.4", "Firefox 140 on Linux"):
        assert part in shown
    assert admin.get(f"{LIST}{bob.pk + 1000}/").status_code == 404


def test_everything_is_changed_at_once_and_recorded_by_its_kind(admin: Client, alice: User, bob: User) -> None:
    """Role in user.role_changed, the rest in user.updated, each with before and after, by this admin."""
    changes = {"name": "Robert", "email": "Robert@Example.com", "role": "auditor", "log_from": "2026-01-01T00:00"}
    assert admin.post(page(bob), edited(bob, **changes))["Location"] == page(bob)
    role, rest = events()[-2:]
    assert (role.action, role.changes) == (
        "user.role_changed",
        [Change(field="role", before="member", after="auditor")],
    )
    assert (rest.action, rest.changes) == (
        "user.updated",
        [
            Change(field="name", before="Bob", after="Robert"),
            Change(field="email", before="bob@example.com", after="robert@example.com"),
            Change(field="log_from", after="2026-01-01T00:00:00Z"),
        ],
    )
    for event in (role, rest):
        assert event.actor is not None
        assert (event.actor.id, event.targets[0].id) == (f"user_{alice.pk}", f"user_{bob.pk}")
        assert event.context.ip == "203.0.113.9"
    count = len(events())
    again = fresh(bob)
    sent = edited(again, log_from="2026-01-01T00:00")
    assert "Nothing has changed." in text(admin.post(page(bob), sent, follow=True))
    assert len(events()) == count


def test_a_page_out_of_date_undoes_nothing(admin: Client, bob: User, carol: User) -> None:
    """Of two admins who had it open the second is refused with the reason, and what the first saved stays."""
    early = fields_of(text(admin.get(page(bob))), "")
    other = signed_in()
    assert other.post(page(bob), early | {"role": "auditor"}).status_code == 302
    count = len(events())
    answer = text(admin.post(page(bob), early | {"name": "Robert"}, follow=True))
    assert "Somebody else has changed these settings" in answer
    assert (fresh(bob).name, fresh(bob).role, len(events())) == ("Bob", "auditor", count)
    assert admin.post(page(bob), fields_of(answer, "") | {"name": "Robert"}).status_code == 302
    assert (fresh(bob).name, fresh(bob).role) == ("Robert", "auditor")


def test_a_moment_shown_to_the_minute_is_not_changed_by_that(admin: Client, bob: User) -> None:
    """Only what differs from what is to the minute is changed."""
    sent = edited(bob, name="Robert")
    moment = timezone.now().replace(microsecond=123) + timedelta(days=3)
    User.objects.filter(pk=bob.pk).update(expires_at=moment)
    admin.post(page(bob), sent | {"expires_at": f"{moment:%Y-%m-%dT%H:%M}"})
    assert (fresh(bob).name, fresh(bob).expires_at) == ("Robert", moment)


def test_what_cannot_be_is_told_and_changes_nothing(admin: Client, bob: User) -> None:
    """A taken or bad address, an end that is over, a period that ends before it begins."""
    before, count = fresh(bob), len(events())
    for changes, told in [
        ({"email": "alice@example.com", "role": "admin"}, "already exists"),
        ({"email": "bob"}, "valid email"),
        ({"expires_at": "2001-01-01T00:00"}, "Choose a time to come"),
        ({"log_from": "2026-02-01T00:00", "log_until": "2026-02-01T00:00"}, "must end after"),
    ]:
        answer = admin.post(page(bob), edited(bob, **changes))
        assert (answer.status_code, told in text(answer)) == (400, True), told
    now = fresh(bob)
    assert (now.email, now.role, now.expires_at, now.log_from) == (before.email, before.role, None, None)
    assert len(events()) == count


@pytest.mark.parametrize("name", ["Bob\nEve", "Bob\u202eevE", "Bob\x07", "B\u200bob"])
def test_a_name_is_one_printable_line_wherever_it_is_given(
    admin: Client, bob: User, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the page of the account, in an invitation and by command: no name can look like another or forge a line."""
    assert admin.post(page(bob), edited(bob, name=name)).status_code == 400
    invited = edited(User(email="new@example.com", name=name, role="member"))
    assert admin.post(LIST + "new/", invited).status_code == 400
    monkeypatch.setattr(sys, "stdin", io.StringIO("a wholly new pass phrase\n"))
    with pytest.raises(InvalidInput, match="^name: Use one line"):
        call_command("createuser", "new@example.com", "--name", name, "--password-stdin")
    assert [user.name for user in User.objects.order_by("pk")] == ["Alice", "Bob"]
    User.objects.filter(pk=bob.pk).update(name=name)
    assert admin.post(page(bob), edited(fresh(bob), name="Robert")).status_code == 302, "what is there can be mended"


def test_deactivating_ends_sessions_and_keys(admin: Client, alice: User, bob: User) -> None:
    """The other browser is out at its next request, the key at its next use; one event for the account and one for each key."""
    User.objects.filter(pk=bob.pk).update(role="admin")
    other, key = signed_in("bob@example.com"), key_of(bob)
    kept = key_of(alice)
    assert "1 API key</strong>" in text(admin.get(page(bob, "deactivate/")))
    assert admin.post(page(bob, "deactivate/"))["Location"] == page(bob)
    assert not is_signed_in(other)
    with pytest.raises(Unauthenticated):
        authenticate(key.token)
    assert authenticate(kept.token)
    revoked, off = events()[-2:]
    assert (revoked.action, revoked.targets[0].id) == ("api_key.revoked", key.key.public_id)
    assert (off.action, off.metadata) == ("user.deactivated", {"sessions_ended": 1, "api_keys_revoked": 1})
    admin.post(page(bob, "deactivate/"))
    assert len(events("user.deactivated")) == len(events("api_key.revoked")) == 1
    admin.post(page(bob, "reactivate/"))
    admin.post(page(bob, "reactivate/"))
    assert len(events("user.reactivated")) == 1
    assert not is_signed_in(other)
    with pytest.raises(Unauthenticated):
        authenticate(key.token)
    assert sign_in(browser(), "bob@example.com").status_code == 302


@pytest.mark.parametrize("by", ["page", "command"])
def test_with_the_admin_role_the_keys_end(admin: Client, alice: User, carol: User, by: str) -> None:
    """Revoked in the transaction of the role, each with its event; they stay so when the role comes back."""
    key, kept = key_of(carol), key_of(alice)
    if by == "page":
        assert admin.post(page(carol), edited(carol, role="auditor")).status_code == 302
    else:
        call_command("user", "role", carol.email, "auditor", stdout=io.StringIO())
    revoked, changed = events()[-2:]
    assert (revoked.action, revoked.targets[0].id) == ("api_key.revoked", key.key.public_id)
    assert (changed.action, changed.metadata) == ("user.role_changed", {"api_keys_revoked": 1})
    assert revoked.recorded_at == changed.recorded_at
    with pytest.raises(Unauthenticated):
        authenticate(key.token)
    assert authenticate(kept.token)
    admin.post(page(carol), edited(fresh(carol), role="admin"))
    forget_cached()
    with pytest.raises(Unauthenticated, match="was revoked"):
        authenticate(key.token)
    assert len(events("api_key.revoked")) == 1


@pytest.mark.parametrize("table", ["ledger_head", "apikeys_apikey"])
def test_the_role_is_lost_only_together_with_the_keys(admin: Client, carol: User, table: str) -> None:
    """A role, keys and records: all or none of it."""
    key = key_of(carol)
    count = len(events())
    with away(table):
        assert admin.post(page(carol), edited(carol, role="member")).status_code == 500
    forget_cached()
    assert (fresh(carol).role, len(events())) == ("admin", count)
    assert authenticate(key.token)


def test_the_keys_of_an_expired_account_stop(alice: User, bob: User) -> None:
    """When its time is over, and as long as it is."""
    User.objects.filter(pk=bob.pk).update(role="admin")
    key = key_of(bob)
    User.objects.filter(pk=bob.pk).update(expires_at=timezone.now())
    forget_cached()
    with pytest.raises(Unauthenticated):
        authenticate(key.token)


def test_the_last_admin_sees_what_cannot_be_done_and_why(admin: Client, alice: User) -> None:
    """No button to deactivate, role and end cannot be chosen, and sending them all the same changes nothing."""
    shown = text(admin.get(page(alice)))
    assert "Cannot be deactivated. This is your own account." in shown
    assert shown.count("This is the last admin who can sign in for good.") == 2
    assert page(alice, "deactivate/") not in shown
    for path, sent in [
        ("", edited(alice, role="member", expires_at="2126-01-01T00:00")),
        ("deactivate/", {}),
    ]:
        admin.post(page(alice, path), sent)
    now = fresh(alice)
    assert (now.role, now.is_active, now.expires_at) == ("admin", True, None)
    assert [event.action for event in events()] == ["login.success"]


def test_one_admin_may_step_down_beside_another(admin: Client, alice: User, carol: User) -> None:
    """Not by deactivating oneself, but as a member; from the next request on the pages of admins are closed."""
    assert "your own account" in text(admin.post(page(alice, "deactivate/"), follow=True))
    assert fresh(alice).is_active
    admin.post(page(alice), edited(alice, role="member"))
    assert admin.get(LIST).status_code == 403
    assert events("user.role_changed")[0].changes == [Change(field="role", before="admin", after="member")]


ACTS: dict[str, Callable[[User, Actor], object]] = {
    "deactivate": lambda user, by: services.deactivate(user, by, Context()),
    "demote": lambda user, by: services.update(user, by, Context(), role="member"),
    "end": lambda user, by: services.update(user, by, Context(), expires_at=timezone.now() + timedelta(days=1)),
    "reset": lambda user, by: services.reset_second_factor(user, by, Context()),
    "link": lambda user, by: services.issue_link(user, by, Context(), by_mail=False),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=list(ACTS))
@pytest.mark.parametrize("since", [{"role": "auditor"}, {"is_active": False}, {"expires_at": timezone.now()}])
def test_who_is_no_active_admin_any_more_changes_no_account(
    alice: User, bob: User, carol: User, act: Callable[[User, Actor], object], since: dict[str, Any]
) -> None:
    """Demoted, deactivated or over since the request came in: refused and not recorded. A command needs no account."""
    Authenticator.objects.create(user=bob, type=Authenticator.Type.TOTP, data={})
    User.objects.filter(pk=carol.pk).update(**since)
    before = User.objects.values().get(pk=bob.pk)
    with pytest.raises(Conflict) as refused:
        act(fresh(bob), user_actor(carol))
    assert refused.value.code == "no_admin"
    assert (User.objects.values().get(pk=bob.pk), events()) == (before, [])
    User.objects.filter(pk=bob.pk).update(role="admin")
    assert act(fresh(bob), os_actor())


@pytest.mark.parametrize("act", [ACTS["deactivate"], ACTS["demote"]], ids=["deactivation", "demotion"])
def test_of_two_who_remove_each_other_at_once_one_stays(
    alice: User, bob: User, carol: User, act: Callable[[User, Actor], object]
) -> None:
    """Also where a third admin is there: whoever comes second is no admin any more."""
    for turn in range(3):
        User.objects.filter(pk__in=[bob.pk, carol.pk]).update(role="admin", is_active=True)
        start, refused = Barrier(2), []

        def race(user: User, by: User, start: Barrier = start, refused: list[str] = refused) -> None:
            start.wait()
            try:
                act(fresh(user), user_actor(by))
            except Conflict as error:
                refused.append(error.code)
            finally:
                connections.close_all()

        racers = [Thread(target=race, args=pair) for pair in ((bob, carol), (carol, bob))]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert refused == ["no_admin"], turn
        assert User.objects.filter(role="admin", is_active=True).count() == 2


def test_an_admin_ends_sessions(admin: Client, alice: User, bob: User) -> None:
    """One or all, each recorded; nobody else's, and one's own are left to the profile."""
    first, second, third = (signed_in("bob@example.com", f"198.51.100.{at}") for at in (4, 5, 6))
    reference = session_reference(session_key(first))
    row = UserSession.objects.get(session_key=session_key(first))
    admin.post(page(bob, "sessions/"), {"session": row.pk})
    (event,) = events("session.revoked")
    assert event.actor is not None
    assert (event.actor.id, event.targets[0].id) == (f"user_{alice.pk}", f"user_{bob.pk}")
    assert event.metadata == {"session_id": reference}
    assert [is_signed_in(client) for client in (first, second, third)] == [False, True, True]
    own = UserSession.objects.get(session_key=session_key(admin))
    for wanted in (row.pk, own.pk, "", "x"):
        admin.post(page(bob, "sessions/"), {"session": wanted})
    assert admin.post(page(alice, "sessions/"), {"session": "all"})["Location"] == "/profile/sessions/"
    assert len(events("session.revoked")) == 1
    admin.post(page(bob, "sessions/"), {"session": "all"})
    assert [is_signed_in(client) for client in (admin, second, third)] == [True, False, False]
    assert len(events("session.revoked")) == 3


def test_a_second_factor_is_reset_for_others_only(admin: Client, alice: User, bob: User) -> None:
    """Removed with a record by another admin; never one's own, which a stolen browser could use."""
    for user in (alice, bob):
        Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    assert "Reset second factor" in text(admin.get(page(bob)))
    admin.post(page(bob, "second-factor/"))
    (event,) = events("user.updated")
    assert (event.changes[0].field, event.targets[0].id) == ("second_factor", f"user_{bob.pk}")
    assert "Reset second factor" not in text(admin.get(page(bob)))
    assert page(alice, "second-factor/") not in text(admin.get(page(alice)))
    assert "your own account" in text(admin.post(page(alice, "second-factor/"), follow=True))
    assert [factor.user_id for factor in Authenticator.objects.all()] == [alice.pk]


@pytest.mark.parametrize("path", ["link/", "link/revoke/", "reactivate/", "sessions/"])
def test_looking_changes_nothing(admin: Client, bob: User, path: str) -> None:
    """What changes something is never a mere address."""
    assert admin.get(page(bob, path)).status_code == 405


@pytest.mark.parametrize(
    ("path", "sent", "needed"),
    [
        ("", {"name": "Robert"}, "workspace_user"),
        ("", {"role": "auditor"}, "workspace_user"),
        ("", {"email": "robert@example.com"}, "account_emailaddress"),
        ("deactivate/", {}, "usersessions_usersession"),
        ("deactivate/", {}, "apikeys_apikey"),
        ("sessions/", {"session": "all"}, "usersessions_usersession"),
        ("second-factor/", {}, "mfa_authenticator"),
    ],
)
def test_nothing_happens_without_its_record_nor_the_other_way_round(
    admin: Client, bob: User, path: str, sent: dict[str, str], needed: str
) -> None:
    """Where the ledger is broken, or a table that the change needs, there is neither change nor event."""
    bob.role = "admin"  # so that his key works
    bob.save()
    other, key = signed_in("bob@example.com"), key_of(bob)
    Authenticator.objects.create(user=bob, type=Authenticator.Type.TOTP, data={"secret": "x"})
    before, count = User.objects.filter(pk=bob.pk).values().get(), len(events())
    for table in ("ledger_head", needed):
        with away(table):
            assert admin.post(page(bob, path), sent if path else edited(bob, **sent)).status_code == 500
        assert len(events()) == count
        assert User.objects.filter(pk=bob.pk).values().get() == before
        assert is_signed_in(other)
        assert authenticate(key.token)
        assert Authenticator.objects.count() == 1
    assert admin.post(page(bob, path), sent if path else edited(bob, **sent)).status_code == 302
    assert len(events()) > count


def test_switching_on_happens_only_with_its_record(admin: Client, bob: User, broken_ledger: Broken) -> None:
    """With the ledger broken the account stays off."""
    admin.post(page(bob, "deactivate/"))
    with broken_ledger():
        assert admin.post(page(bob, "reactivate/")).status_code == 500
    assert not fresh(bob).is_active
    assert events("user.reactivated") == []
