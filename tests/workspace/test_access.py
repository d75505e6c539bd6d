"""Pages for admins only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from opssentinal.events.model import Target
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import session_reference
from tests.workspace.conftest import AGENT, browser, events, session_key, signed_in


def test_admins_get_in(alice: User) -> None:
    """And nothing but their sign-in is recorded."""
    response = signed_in().get("/guarded/7/")
    assert response.content == b"secret 7"
    assert [event.action for event in events()] == ["login.success"]


def test_strangers_are_led_to_sign_in(alice: User) -> None:
    """With the page they wanted, query included, kept."""
    response = browser().get("/guarded/7/?q=a%20b")
    assert response["Location"] == "/accounts/login/?next=/guarded/7/%3Fq%3Da%2520b"
    assert events() == []


def test_a_denial_is_a_page_and_an_event(bob: User) -> None:
    """403, and access.denied with who, which page, how and from where."""
    client = signed_in("bob@example.com")
    response = client.post("/guarded/7/")
    assert response.status_code == 403
    assert b"secret" not in response.content
    event = events()[-1]
    assert (event.action, event.outcome) == ("access.denied", "denied")
    assert event.actor is not None
    assert (event.actor.id, event.actor.email) == (f"user_{bob.pk}", "bob@example.com")
    assert event.targets == [Target(type="page", id="guarded", name="/guarded/7/")]
    assert event.metadata == {"method": "POST"}
    assert (event.context.ip, event.context.user_agent) == ("203.0.113.9", AGENT)
    assert event.context.session_id == session_reference(session_key(client))


def test_denials_do_not_fill_the_log(bob: User, alice: User) -> None:
    """Somebody who asks for a page again and again is refused each time, and recorded once a minute."""
    User.objects.create_user("carol@example.com", "correct horse battery staple", role="auditor")
    client = signed_in("bob@example.com")
    for _ in range(5):
        assert client.get("/guarded/7/").status_code == 403
    assert signed_in("carol@example.com").get("/guarded/7/").status_code == 403
    denied = [event.actor.email for event in events() if event.action == "access.denied" and event.actor]
    assert denied == ["bob@example.com", "carol@example.com"]


def test_auditors_are_no_admins() -> None:
    """Only the role admin opens the pages of admins."""
    User.objects.create_user("carol@example.com", "correct horse battery staple", role="auditor")
    assert signed_in("carol@example.com").get("/guarded/7/").status_code == 403


def test_a_denial_that_cannot_be_recorded_is_an_error(
    bob: User, broken_ledger: Callable[[], AbstractContextManager[None]]
) -> None:
    """Still nobody gets in."""
    client = signed_in("bob@example.com")
    with broken_ledger():
        response = client.get("/guarded/7/")
    assert response.status_code == 500
    assert b"secret" not in response.content
    assert client.get("/guarded/7/").status_code == 403
    assert [event.action for event in events()][-1] == "access.denied"  # what failed was not counted as a record
