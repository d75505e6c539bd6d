"""Links by e-mail: sent besides being shown, through a real mail server; one that fails does not hold up the link."""

from __future__ import annotations

from django.test import Client

from opssentinal.workspace.models import User
from tests.users.conftest import page
from tests.users.test_invite import invite, link_in
from tests.users.test_invite import use as use_link
from tests.workspace import postbox
from tests.workspace.conftest import browser, events, sign_in


def test_an_invitation_is_also_sent(admin: Client) -> None:
    """One message to the invited address, with the link that works; who invited whom to what, and until when."""
    box = postbox.Postbox()
    with postbox.serving(box) as port:
        postbox.use(port)
        answer = invite(admin)
    assert "Also sent to carol@example.com by e-mail." in answer.content.decode()
    (message,) = box.messages
    assert box.recipients == [["carol@example.com"]]
    assert message["Subject"] == "Your account on OpsSentinal"
    said = message.get_content()
    assert "Alice has invited you to OpsSentinal." in said
    assert link_in(answer) in said.split()
    assert events("user.link_issued")[-1].metadata["sent_by"] == "link and email"
    use_link(link_in(answer))
    assert sign_in(browser(), "carol@example.com", "a wholly different passphrase").status_code == 302


def test_a_reset_is_also_sent(admin: Client, bob: User) -> None:
    """To the address the account has now."""
    box = postbox.Postbox()
    with postbox.serving(box) as port:
        postbox.use(port)
        link = link_in(admin.post(page(bob, "link/")))
    (message,) = box.messages
    assert (message["To"], message["Subject"]) == ("bob@example.com", "Set a new password on OpsSentinal")
    assert link in message.get_content().split()


def test_a_mail_server_that_refuses_is_told_and_the_link_is_shown(admin: Client) -> None:
    """The account and its link are there all the same."""
    box = postbox.Postbox()
    box.refuse["RCPT"] = "550 No such person"
    with postbox.serving(box) as port:
        postbox.use(port)
        answer = invite(admin)
    shown = answer.content.decode()
    assert "It could not be sent by e-mail" in shown
    assert "550 No such person" in shown
    assert use_link(link_in(answer))["Location"] == "/accounts/password/done/"
