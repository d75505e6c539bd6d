"""Second factors: signing in with them, changing them, requiring them; and that nothing changes without its record."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from allauth.mfa.models import Authenticator
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test import Client
from pytest_django import Settings

from opssentinal.events.model import Change, Context
from opssentinal.ledger.recording import recording
from opssentinal.workspace.models import User
from opssentinal.workspace.password_refusal import _makers, add_password_refusal
from opssentinal.workspace.preferences import update_preferences
from opssentinal.workspace.principals import user_actor
from opssentinal.workspace.second_factor import has_second_factor, reset
from tests.workspace.conftest import (
    PASSWORD,
    browser,
    events,
    is_signed_in,
    session_key,
    sign_in,
    signed_in,
    unwritable,
)

Broken = Callable[[], AbstractContextManager[None]]
ROOT = "/profile/second-factor/"


def code(key: str, steps: int = 0) -> str:
    """What an authenticator app shows, by an implementation that is not the product's; `steps` of half a minute away."""
    totp = TOTP(base64.b32decode(key), 6, SHA1(), 30, enforce_key_length=False)
    return totp.generate(int(time.time()) + 30 * steps).decode()


def prove(client: Client) -> None:
    """Type the password once more, as changing factors asks for."""
    assert client.post("/accounts/reauthenticate/", {"password": PASSWORD}).status_code == 302


def key_shown(client: Client) -> str:
    page = client.get(ROOT + "app/add/").content.decode()
    found = re.search(r'id="totp-key">([A-Z2-7]+)<', page)
    assert found
    return found[1]


def with_app(client: Client) -> str:
    """Set up an authenticator app and return its key."""
    prove(client)
    key = key_shown(client)
    response = client.post(ROOT + "app/add/", {"code": code(key)})
    assert response["Location"] == ROOT + "recovery-codes/"
    cache.clear()
    return key


def recovery_codes(client: Client) -> list[str]:
    page = client.get(ROOT + "recovery-codes/").content.decode()
    return re.findall(r"(?:^|>)(\d{8})$", page, re.MULTILINE)


def require(whom: str, admin: User) -> None:
    update_preferences(user_actor(admin), Context(), "security", second_factor_required=whom)


def test_an_app_is_set_up_and_recorded_without_its_key(alice: User) -> None:
    """user.updated tells of the app and the recovery codes that came with it; neither key nor seed is in the log."""
    client = signed_in()
    key = with_app(client)
    event = events()[-1]
    assert (event.action, event.outcome) == ("user.updated", "success")
    assert event.actor is not None
    assert event.actor.id == event.targets[0].id == f"user_{alice.pk}"
    assert event.changes[0] == Change(field="second_factor", after="authenticator app")
    assert event.changes[1].field == "recovery_codes"
    assert len(event.changes) == 2
    assert key not in repr(events())


def test_keys_lie_encrypted_in_the_database(alice: User) -> None:
    """Neither the key of the app, set up or about to be, nor the seed of the recovery codes can be read there."""
    client = signed_in()
    prove(client)
    key = key_shown(client)
    waiting = Session.objects.get(session_key=session_key(client)).get_decoded()
    assert key not in json.dumps(waiting)
    with_app(client)
    with connection.cursor() as cursor:
        cursor.execute("SELECT data FROM mfa_authenticator")
        rows = [str(row[0]) for row in cursor.fetchall()]
    assert len(rows) == 2
    assert all("gAAAA" in row for row in rows), "Fernet"
    assert not any(key in row for row in rows)


def test_signing_in_takes_both_steps(alice: User) -> None:
    """The password alone opens nothing; with the code of the app one is in, and the log tells both."""
    key = with_app(signed_in())
    client = browser()
    assert sign_in(client)["Location"] == "/accounts/second-factor/"
    assert not is_signed_in(client)
    assert client.post("/accounts/second-factor/", {"code": code(key, 1)}).status_code == 302
    assert is_signed_in(client)
    event = events()[-1]
    assert event.action == "login.success"
    assert event.metadata == {"method": "password", "second_factor": "totp"}


def test_a_code_works_once(alice: User) -> None:
    """Whoever looked over a shoulder cannot use the code again while it is shown."""
    key = with_app(signed_in())
    once = code(key)
    for client, status in ((browser(), 302), (browser("203.0.113.10"), 200)):
        sign_in(client)
        assert client.post("/accounts/second-factor/", {"code": once}).status_code == status
    assert events()[-1].metadata["reason"] == "wrong_code"


@pytest.mark.parametrize("written", ["{}", "{:.3}-{:.3}", " {:.3} {:.3}"])
def test_the_code_that_set_the_app_up_signs_nobody_in(alice: User, written: str) -> None:
    """It was used by then, however it is written; the next code does."""
    owner = signed_in()
    prove(owner)
    key = key_shown(owner)
    first = code(key)
    assert owner.post(ROOT + "app/add/", {"code": first})["Location"] == ROOT + "recovery-codes/"
    client = browser()
    sign_in(client)
    again = written.format(first) if written == "{}" else written.format(first, first[3:])
    assert client.post("/accounts/second-factor/", {"code": again}).status_code == 200
    assert events()[-1].metadata["reason"] == "wrong_code"
    assert client.post("/accounts/second-factor/", {"code": code(key, 1)}).status_code == 302


def test_a_recovery_code_opens_once(alice: User) -> None:
    """Shown once, after it was recorded that they are; each signs in one time, as the log tells."""
    owner = signed_in()
    with_app(owner)
    codes = recovery_codes(owner)
    assert len(codes) == len(set(codes)) == 10
    assert events()[-1].changes == [Change(field="recovery_codes", after="viewed")]
    assert recovery_codes(owner) == []
    assert len(events()) == 3, "looking again shows nothing, and is no event"
    for client, status in ((browser(), 302), (browser("203.0.113.10"), 200)):
        sign_in(client)
        assert client.post("/accounts/second-factor/", {"code": codes[3]}).status_code == status
    assert [event.metadata for event in events()[-2:]] == [
        {"method": "password", "second_factor": "recovery_codes"},
        {"method": "password", "reason": "wrong_code"},
    ]


def test_codes_are_not_shown_where_that_cannot_be_recorded(alice: User, broken_ledger: Broken) -> None:
    """And are shown later, once it can."""
    client = signed_in()
    with_app(client)
    with broken_ledger():
        response = client.get(ROOT + "recovery-codes/")
    assert response.status_code == 500
    assert not re.search(rb"\d{8}", response.content)
    assert len(recovery_codes(client)) == 10


def test_a_wrong_code_is_recorded_and_signs_nobody_in(alice: User) -> None:
    """login.failure with the account, the method so far and wrong_code."""
    with_app(signed_in())
    client = browser()
    sign_in(client)
    response = client.post("/accounts/second-factor/", {"code": "000000"})
    assert response.status_code == 200
    assert b"This was not right" in response.content
    assert not is_signed_in(client)
    event = events()[-1]
    assert (event.action, event.outcome) == ("login.failure", "failure")
    assert event.actor is not None
    assert event.actor.id == f"user_{alice.pk}"
    assert event.metadata == {"method": "password", "reason": "wrong_code"}


def test_a_wrong_code_that_cannot_be_recorded_is_an_error(alice: User, broken_ledger: Broken) -> None:
    """Nobody can try codes unseen."""
    with_app(signed_in())
    client = browser()
    sign_in(client)
    with broken_ledger():
        assert client.post("/accounts/second-factor/", {"code": "000000"}).status_code == 500


def test_codes_cannot_be_tried_for_ever(alice: User) -> None:
    """The lock-out holds for codes as for passwords: beyond it even the right one is refused, and that is recorded."""
    update_preferences(user_actor(alice), Context(), "security", lockout_attempts=3)
    key = with_app(signed_in())
    client = browser()
    sign_in(client)
    for _ in range(3):
        client.post("/accounts/second-factor/", {"code": "000000"})
    for _ in range(3):
        client.post("/accounts/second-factor/", {"code": code(key, 1)})
    assert not is_signed_in(client)
    reasons = [event.metadata["reason"] for event in events("login.failure")]
    assert reasons == ["wrong_code"] * 3 + ["locked_out"]


def test_an_account_switched_off_between_the_steps_does_not_get_in(alice: User) -> None:
    """The refusal is recorded, and no sign-in is."""
    key = with_app(signed_in())
    client = browser()
    sign_in(client)
    User.objects.update(is_active=False)
    before = len(events("login.success"))
    client.post("/accounts/second-factor/", {"code": code(key, 1)})
    User.objects.update(is_active=True)
    assert not is_signed_in(client)
    assert len(events("login.success")) == before
    assert events()[-1].metadata == {"method": "password", "reason": "inactive"}


def test_a_sign_in_with_a_code_that_cannot_be_recorded_does_not_happen(alice: User, broken_ledger: Broken) -> None:
    """As with a password alone."""
    key = with_app(signed_in())
    client = browser()
    sign_in(client)
    with broken_ledger():
        assert client.post("/accounts/second-factor/", {"code": code(key, 1)}).status_code == 500
    assert not is_signed_in(client)


# What changes factors, and where; each begins with an app that is set up, and its recovery codes.
CHANGES: list[tuple[str, str]] = [
    (ROOT + "app/remove/", "second_factor"),
    (ROOT + "recovery-codes/new/", "recovery_codes"),
]


@pytest.mark.parametrize("table", ["ledger_bundle", "mfa_authenticator"])
def test_an_app_that_cannot_be_recorded_is_not_stored(alice: User, table: str) -> None:
    """Nor recorded without being stored: no factor, no recovery codes, no message that says otherwise; later it works."""
    client = signed_in()
    prove(client)
    key = key_shown(client)
    with unwritable(table):
        assert client.post(ROOT + "app/add/", {"code": code(key)}).status_code == 500
    assert Authenticator.objects.count() == 0
    assert events("user.updated") == []
    page = client.get(ROOT).content.decode()
    assert "is set up" not in page
    with_app(client)


@pytest.mark.parametrize("table", ["ledger_bundle", "mfa_authenticator"])
@pytest.mark.parametrize(("path", "field"), CHANGES)
def test_a_change_is_recorded_or_does_not_happen(alice: User, table: str, path: str, field: str) -> None:
    """Removing the app or replacing the codes: with its record or not at all, and no record without it."""
    client = signed_in()
    with_app(client)
    before = list(Authenticator.objects.values_list("pk", "data"))
    recorded = len(events())
    with unwritable(table):
        assert client.post(path).status_code == 500
    assert list(Authenticator.objects.values_list("pk", "data")) == before
    assert len(events()) == recorded
    assert client.post(path).status_code == 302
    assert list(Authenticator.objects.values_list("pk", "data")) != before
    assert len(events()) == recorded + 1
    assert events()[-1].action == "user.updated"
    assert events()[-1].changes[0].field == field


def test_removing_the_last_factor_takes_the_recovery_codes_along(alice: User) -> None:
    """One event tells both, and the password alone signs in again."""
    client = signed_in()
    with_app(client)
    client.post(ROOT + "app/remove/")
    assert Authenticator.objects.count() == 0
    assert [change.field for change in events()[-1].changes] == ["second_factor", "recovery_codes"]
    assert all(change.after is None for change in events()[-1].changes)
    assert sign_in(browser())["Location"] == "/"


def test_new_codes_take_the_place_of_the_old(alice: User) -> None:
    """One change with the moment of either, and the old ones open nothing."""
    owner = signed_in()
    with_app(owner)
    old = recovery_codes(owner)
    owner.post(ROOT + "recovery-codes/new/")
    (change,) = events()[-1].changes
    assert change.field == "recovery_codes"
    assert str(change.before).startswith("made 20")
    assert str(change.after).startswith("made 20")
    assert not set(old) & set(recovery_codes(owner))
    client = browser()
    sign_in(client)
    assert client.post("/accounts/second-factor/", {"code": old[0]}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["app/add/", "passkeys/add/", "recovery-codes/new/"],
)
def test_changing_factors_asks_who_one_is(alice: User, path: str) -> None:
    """A browser left open is not enough: without proving it once more nothing is shown or changed."""
    client = signed_in()
    for response in (client.get(ROOT + path), client.post(ROOT + path, {"code": "000000"})):
        assert response.status_code == 302
        assert response["Location"].startswith("/accounts/reauthenticate/")
    assert Authenticator.objects.count() == 0


def test_a_wrong_proof_is_recorded_as_such(alice: User) -> None:
    """login.failure, telling that somebody who was signed in could not prove it."""
    client = signed_in()
    assert client.post("/accounts/reauthenticate/", {"password": "wrong"}).status_code == 200
    assert events()[-1].metadata == {"method": "password", "reason": "wrong_password", "reauthentication": True}
    with_app(client)
    client.post(ROOT + "prove/", {"code": "000000"})
    assert events()[-1].metadata == {"method": "password", "reason": "wrong_code", "reauthentication": True}


def test_a_recovery_code_used_as_proof_is_recorded(alice: User) -> None:
    """It is gone then, so the log tells."""
    client = signed_in()
    with_app(client)
    codes = recovery_codes(client)
    assert client.post(ROOT + "prove/", {"code": codes[0]}).status_code == 302
    assert events()[-1].changes == [Change(field="recovery_codes", after="used")]


@pytest.mark.parametrize(
    ("required", "alice_is_led", "bob_is_led"),
    [("nobody", False, False), ("admins", True, False), ("everybody", True, True)],
)
def test_who_must_have_a_factor_is_led_to_it(
    alice: User, bob: User, required: str, alice_is_led: bool, bob_is_led: bool
) -> None:
    """Every page leads there until it is set up; signing out stays possible."""
    update_preferences(user_actor(alice), Context(), "security", second_factor_required=required)
    for email, is_led in (("alice@example.com", alice_is_led), ("bob@example.com", bob_is_led)):
        client = signed_in(email)
        for path in ("/profile/", "/insights/event-types/", "/profile/password/", "/nowhere/"):
            response = client.get(path)
            assert (response.headers.get("Location") == ROOT) is is_led, path
        page = client.get(ROOT)
        assert page.status_code == 200
        assert (b"asks for a second factor" in page.content) is is_led
        if is_led:
            with_app(client)
            assert client.get("/profile/").status_code == 200
        assert client.post("/accounts/logout/").status_code == 302
        assert session_key(client) is None


def test_a_required_factor_does_not_hinder_keys_and_health(alice: User) -> None:
    """The API asks for its own keys, and probes ask nobody."""
    require("everybody", alice)
    client = signed_in()
    assert client.get("/healthz").status_code == 200
    assert client.get("/api/v1/events").status_code == 401


def test_an_admin_resets_a_factor(alice: User, bob: User) -> None:
    """All factors go with one record by the admin; the password alone signs in again."""
    with_app(signed_in("bob@example.com"))
    with recording() as record:
        assert reset(record, bob, user_actor(alice), Context(ip="203.0.113.9")) == 2
    event = events()[-1]
    assert event.action == "user.updated"
    assert event.actor == user_actor(alice)
    assert event.targets[0].id == f"user_{bob.pk}"
    assert [change.field for change in event.changes] == ["second_factor", "recovery_codes"]
    assert not has_second_factor(bob)
    assert sign_in(browser(), "bob@example.com")["Location"] == "/"
    with recording() as record:
        assert reset(record, bob, user_actor(alice), Context()) == 0
    assert len(events("user.updated")) == 2


def test_a_reset_that_cannot_be_recorded_leaves_the_factors(alice: User, bob: User, broken_ledger: Broken) -> None:
    """As everywhere."""
    with_app(signed_in("bob@example.com"))
    with broken_ledger(), pytest.raises(Exception, match="ledger_head"), recording() as record:
        reset(record, bob, user_actor(alice), Context())
    assert has_second_factor(bob)


def test_another_server_key_is_said_and_recorded(alice: User, settings: Settings) -> None:
    """The page that shows factors still opens, and the second step says that a reset is needed."""
    owner = signed_in()
    key = with_app(owner)
    settings.SECRET_KEY = "another key of the server, long enough to be one"
    client = browser()
    sign_in(client)
    response = client.post("/accounts/second-factor/", {"code": code(key, 1)})
    assert response.status_code == 200
    assert b"An admin can reset it" in response.content
    assert events()[-1].metadata == {"method": "password", "reason": "unreadable_factor"}
    inside = Client()
    inside.force_login(alice, "opssentinal.workspace.adapters.PasswordBackend")
    assert b"10 of 10 left" in inside.get(ROOT).content


@pytest.fixture
def no_passwords() -> Iterator[None]:
    """As where single sign-on is required of everybody."""
    add_password_refusal(rule := lambda: lambda user: "sso_required")
    yield
    _makers.remove(rule)


def test_who_signs_in_elsewhere_can_set_up_a_factor(alice: User, request: pytest.FixtureRequest) -> None:
    """A password that would not sign in proves nothing here either, and is not asked for; a factor then is."""
    client = signed_in()
    request.getfixturevalue("no_passwords")
    key = key_shown(client)
    assert client.post(ROOT + "app/add/", {"code": code(key)}).status_code == 302
    assert has_second_factor(alice)
    assert client.post(ROOT + "app/remove/")["Location"].startswith(ROOT + "prove/")
    assert has_second_factor(alice)
