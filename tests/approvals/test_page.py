"""Settings → Approvals, as admins use it and as others cannot."""

from __future__ import annotations

from collections.abc import Callable

from django.test import Client

from opssentinal.approvals.models import Approval
from opssentinal.events.model import Context
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences, update_preferences
from opssentinal.workspace.principals import user_actor
from tests.approvals.conftest import ask, browser, recorded

PAGE = "/settings/approvals/"
Check = Callable[[], None]


def text_of(client: Client, page: str = PAGE) -> str:
    return client.get(page).content.decode()


def test_only_admins_see_it_and_decide(alice: User, bob: User) -> None:
    """A visitor is sent to sign in, a member is refused and the refusal recorded; the request still waits."""
    approval = ask(alice)
    assert Client().get(PAGE).status_code == 302
    member = browser(bob)
    assert member.get(PAGE).status_code == 403
    for verdict in ("grant", "reject", "withdraw"):
        assert member.post(f"{PAGE}{approval.pk}/{verdict}/").status_code == 403
        assert Client().post(f"{PAGE}{approval.pk}/{verdict}/").status_code == 302
    approval.refresh_from_db()
    assert approval.state == "waiting"
    assert [event.action for event in recorded("access.")] == ["access.denied"] * 2


def test_an_admin_in_a_hurry_finds_what_waits(alice: User, carol: User) -> None:
    """Every page of who can decide says how many wait; who asked is not waited for and can only withdraw."""
    ask(alice)
    assert "waiting for you" in text_of(browser(carol), "/settings/data-retention/")
    assert "waiting for you" not in text_of(browser(alice), "/settings/data-retention/")
    assert "Approve<" in text_of(browser(carol))
    mine = text_of(browser(alice))
    assert "Approve<" not in mine
    assert "Withdraw<" in mine


def test_approving_and_its_trace(alice: User, carol: User) -> None:
    """One button carries it out; the list then says who decided."""
    approval = ask(alice)
    answer = browser(carol).post(f"{PAGE}{approval.pk}/grant/", follow=True)
    assert "Approved: Call it Acme." in answer.content.decode()
    assert preferences().workspace_name == "Acme"
    assert "Carol" in text_of(browser(alice))


def test_too_late_is_said_and_not_an_error_page(alice: User, carol: User) -> None:
    """A second press, one's own request, and what does not exist."""
    approval = ask(alice)
    answer = browser(alice).post(f"{PAGE}{approval.pk}/grant/", follow=True)
    assert "Another admin has to decide" in answer.content.decode()
    browser(carol).post(f"{PAGE}{approval.pk}/reject/")
    answer = browser(carol).post(f"{PAGE}{approval.pk}/grant/", follow=True)
    assert "has been decided: rejected" in answer.content.decode()
    assert browser(carol).post(f"{PAGE}999/grant/").status_code == 404
    assert browser(carol).post(f"{PAGE}{approval.pk}/destroy/").status_code == 404
    assert browser(carol).get(f"{PAGE}{approval.pk}/grant/").status_code == 405
    assert Approval.objects.get().state == "rejected"


def test_what_cannot_be_approved_any_more_is_said_before(alice: User, carol: User) -> None:
    """What it would do as things are, while it can be approved; else why not, to both, and no button but the others."""
    ask(alice)
    page = text_of(browser(carol))
    assert "Now it is called OpsSentinal." in page
    assert "Approve<" in page
    update_preferences(user_actor(carol), Context(), "general", workspace_name="Other")
    for page, offered in ((text_of(browser(carol)), "Reject<"), (text_of(browser(alice)), "Withdraw<")):
        assert "It cannot be approved any more. It has another name now." in page
        assert "Approve<" not in page
        assert offered in page
    update_preferences(user_actor(carol), Context(), "general", workspace_name="OpsSentinal")
    User.objects.filter(pk=alice.pk).update(role="member")
    assert "is no active admin any more" in text_of(browser(carol))


def test_it_says_where_no_approval_is_needed(alice: User) -> None:
    """With one admin the page says so."""
    assert "no approval is needed" in text_of(browser(alice))
