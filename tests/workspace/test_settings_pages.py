"""Settings → General and Settings → Security: what is stored, what is recorded, and what holds from then on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from opssentinal.events.model import Change, Context
from opssentinal.ledger.reader import bundles_after
from opssentinal.workspace import mail, proxies
from opssentinal.workspace.models import StoredPreferences, User
from opssentinal.workspace.preferences import preferences, stored_secret, update_preferences
from opssentinal.workspace.principals import user_actor
from opssentinal.workspace.public_url import public_link
from tests.form import fields_of
from tests.workspace.conftest import AGENT, PASSWORD, browser, events, sign_in, signed_in, unwritable
from tests.workspace.postbox import SENDER, Postbox, serving, silent, use

GENERAL = {"workspace_name": "OpsSentinal", "public_url": "", "time_zone": "UTC"}
EMAIL = {
    "smtp_host": "mail.example.com", "smtp_port": 587, "smtp_security": "starttls", "smtp_user": "audit",
    "smtp_password": "s3cret", "smtp_from": SENDER,
}  # fmt: skip
SECURITY = {
    "password_length_min": 12, "lockout_attempts": 10, "lockout_minutes": 5, "second_factor_required": "nobody",
}  # fmt: skip
PAGES = {
    "/settings/general/workspace/": (GENERAL, {"workspace_name": "Acme"}),
    "/settings/general/email/": (EMAIL, {}),
    "/settings/security/rules/": (SECURITY, {"lockout_attempts": 5}),
}


@pytest.fixture(autouse=True)
def no_sighting() -> Iterator[None]:
    """As after a start."""
    proxies.forget()
    yield
    proxies.forget()


def save(client: Client, path: str, **changed: Any) -> Any:
    return client.post(path, PAGES[path][0] | changed)


@pytest.mark.parametrize("table", ["ledger_bundle", "workspace_storedpreferences"])
@pytest.mark.parametrize("path", PAGES)
def test_a_change_is_recorded_or_does_not_happen(alice: User, path: str, table: str) -> None:
    """settings.updated and the preferences, both or neither."""
    client = signed_in()
    form, changed = PAGES[path]
    before = preferences()
    with unwritable(table):
        assert client.post(path, form | changed).status_code == 500
    assert preferences() == before
    assert events("settings.updated") == []
    assert client.post(path, form | changed).status_code == 302
    assert preferences() != before
    (event,) = events("settings.updated")
    assert event.actor is not None
    assert event.actor.id == f"user_{alice.pk}"
    assert {change.field for change in event.changes} >= set(changed)
    client.post(path, form | changed)
    assert len(events("settings.updated")) == (2 if path.endswith("email/") else 1), "the same again is no change"


@pytest.mark.parametrize(
    ("page", "path", "first", "second"),
    [
        (
            "/settings/general/",
            "/settings/general/workspace/",
            {"time_zone": "Europe/Rome"},
            {"workspace_name": "Acme"},
        ),
        ("/settings/general/", "/settings/general/email/", EMAIL, EMAIL | {"smtp_host": "mail.example.org"}),
        ("/settings/security/", "/settings/security/rules/", {"password_length_min": 16}, {"lockout_minutes": 9}),
    ],
)
def test_a_page_out_of_date_undoes_nothing(
    alice: User, page: str, path: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Two admins open it and one saves: what the other then saves is refused with the reason, and saved from a new page."""
    User.objects.create_user("carol@example.com", PASSWORD, role="admin")
    one, other = signed_in(), signed_in("carol@example.com")
    early = fields_of(other.get(page).content.decode(), path)
    saved = one.post(path, fields_of(one.get(page).content.decode(), path) | first, follow=True)
    assert "Saved." in saved.content.decode()
    after_first = preferences()
    answer = other.post(path, early | second, follow=True).content.decode()
    assert "Somebody else has changed these settings" in answer
    assert preferences() == after_first
    again = other.post(path, fields_of(other.get(page).content.decode(), path) | second, follow=True)
    assert "Saved." in again.content.decode()
    now = {name: getattr(preferences(), name) for name in first | second if name != "smtp_password"}
    assert now == {name: value for name, value in (first | second).items() if name != "smtp_password"}


@pytest.mark.parametrize("path", ["/settings/general/", "/settings/security/", *PAGES, "/settings/general/email/test/"])
def test_the_settings_are_for_admins(alice: User, bob: User, path: str) -> None:
    """Members get 403, which is recorded; visitors are asked to sign in."""
    send = "get" if path.count("/") == 3 else "post"
    assert getattr(signed_in("bob@example.com"), send)(path).status_code == 403
    assert events()[-1].action == "access.denied"
    assert getattr(browser(), send)(path)["Location"].startswith("/accounts/login/")


def test_the_name_is_on_every_page(alice: User) -> None:
    """In the title and in the corner, for visitors as well, and as text only."""
    client = signed_in()
    save(client, "/settings/general/workspace/", workspace_name="Acme <b>& Sons</b>")
    for page in (client.get("/profile/"), browser().get("/accounts/login/"), client.get("/nowhere/")):
        text = page.content.decode()
        assert "· Acme &lt;b&gt;&amp; Sons&lt;/b&gt;</title>" in text
        assert "<span>Acme &lt;b&gt;" in text
    assert events("settings.updated")[0].changes == [
        Change(field="workspace_name", before="OpsSentinal", after="Acme <b>& Sons</b>")
    ]


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("https://audit.example.com", "https://audit.example.com"),
        ("https://Audit.Example.com:8443/", "https://audit.example.com:8443"),
        ("http://10.0.0.7", "http://10.0.0.7"),
        ("https://[2001:db8::7]:8443", "https://[2001:db8::7]:8443"),
        ("https://audit", "https://audit"),
        ("", ""),
    ],
)
def test_a_public_url_is_stored_in_one_form(alice: User, url: str, stored: str) -> None:
    """Lower case, without a slash at its end."""
    assert save(signed_in(), "/settings/general/workspace/", public_url=url).status_code == 302
    assert preferences().public_url == stored
    assert public_link("/profile/") == f"{stored or 'http://127.0.0.1:8000'}/profile/"


@pytest.mark.parametrize(
    "url",
    [
        "audit.example.com", "ftp://audit.example.com", "javascript:alert(1)", "https://", "https://a b", "https://*",
        "https://audit.example.com/path", "https://audit.example.com?x=1", "https://user@audit.example.com",
        "https://audit.example.com:99999", "https://audit.example.com:x", "https://.example.com", "https://a_b.example",
        "https://audit.example.com\\@evil.example", "https://[::1", "https://exam\u200bple.com",
    ],
)  # fmt: skip
def test_what_is_no_public_url_is_refused(alice: User, url: str) -> None:
    """With a reason beside the field, and nothing is stored."""
    response = save(signed_in(), "/settings/general/workspace/", public_url=url)
    assert response.status_code == 400
    assert b"field-error" in response.content
    assert preferences().public_url == ""


def test_a_new_public_url_is_answered_to_at_once(alice: User) -> None:
    """Its host is served and forms are taken from its origin, also where a proxy speaks https for it; others stay refused."""
    client = signed_in()
    assert browser().get("/accounts/login/", headers={"host": "audit.example.com"}).status_code == 400
    save(client, "/settings/general/workspace/", public_url="https://audit.example.com")
    assert browser().get("/accounts/login/", headers={"host": "audit.example.com"}).status_code == 200
    assert browser().get("/accounts/login/", headers={"host": "evil.example.com"}).status_code == 400
    for origin, status in (("https://audit.example.com", 302), ("https://evil.example", 403), ("null", 403)):
        strict = browser(enforce_csrf_checks=True)
        strict.get("/accounts/login/", headers={"host": "audit.example.com"})
        token = strict.cookies["csrftoken"].value
        form = {"login": "alice@example.com", "password": PASSWORD, "csrfmiddlewaretoken": token}
        headers = {"host": "audit.example.com", "origin": origin}
        assert strict.post("/accounts/login/", form, headers=headers).status_code == status, origin
    page = client.get("/settings/general/").content.decode()
    assert "so that browsers send its cookies over https only" in page
    save(client, "/settings/general/workspace/", public_url="")
    assert browser().get("/accounts/login/", headers={"host": "audit.example.com"}).status_code == 400


def test_the_password_of_the_mail_server_is_written_and_never_shown(alice: User) -> None:
    """Not on the page, not in the log, not in the database as it is."""
    client = signed_in()
    save(client, "/settings/general/email/")
    assert stored_secret("smtp_password") == "s3cret"
    page = client.get("/settings/general/").content.decode()
    assert "s3cret" not in page
    assert "One is stored" in page
    row = StoredPreferences.objects.get(pk=1)
    assert "s3cret" not in repr((row.chosen, row.secrets))
    stored = b"".join(b"".join((*b.heads, *b.whos, *b.whats)) for b in bundles_after(0))
    assert b"s3cret" not in stored
    assert b"(hidden)" in stored
    save(client, "/settings/general/email/", smtp_password="", smtp_from="audit@example.net")
    assert stored_secret("smtp_password") == "s3cret", "left empty, it stays"
    save(client, "/settings/general/email/", smtp_password="", smtp_user="")
    assert stored_secret("smtp_password") is None


@pytest.mark.parametrize(
    "changed",
    [{"smtp_host": "other.example.com"}, {"smtp_user": "other"}, {"smtp_port": 2525}, {"smtp_security": "none"}],
)
def test_a_stored_password_goes_to_no_other_server(alice: User, changed: dict[str, Any]) -> None:
    """Whoever may change the server cannot read the password by having it sent to one of their own."""
    client = signed_in()
    save(client, "/settings/general/email/")
    assert save(client, "/settings/general/email/", smtp_password="", **changed).status_code == 400
    assert {name: getattr(preferences(), name) for name in changed} == {name: EMAIL[name] for name in changed}
    assert save(client, "/settings/general/email/", smtp_password="new", **changed).status_code == 302
    assert stored_secret("smtp_password") == "new"


@pytest.mark.parametrize(
    "wrong",
    [
        {"smtp_host": "mail server"}, {"smtp_host": "mail.example.com:25"}, {"smtp_host": "mail\r\nRCPT TO:<x>"},
        {"smtp_port": 0}, {"smtp_port": 70000}, {"smtp_security": "maybe"}, {"smtp_from": ""}, {"smtp_from": "nobody"},
        {"smtp_from": "a@example.com\r\nBcc: b@example.com"}, {"smtp_password": ""},
    ],
)  # fmt: skip
def test_what_is_no_mail_server_is_refused(alice: User, wrong: dict[str, Any]) -> None:
    """With a reason, and nothing is stored."""
    response = save(signed_in(), "/settings/general/email/", **wrong)
    assert response.status_code == 400
    assert b"field-error" in response.content
    assert preferences().smtp_host == ""


def test_a_test_message_arrives_and_is_recorded(alice: User) -> None:
    """To whoever asked; the page shows what the mail server answered, and so does the log."""
    client = signed_in()
    postbox = Postbox()
    with serving(postbox) as port:
        use(port)
        response = client.post("/settings/general/email/test/", follow=True)
    assert postbox.recipients == [["alice@example.com"]]
    assert "250 Kept as number 1" in response.content.decode()
    event = events()[-1]
    assert (event.action, event.outcome) == ("email.tested", "success")
    assert event.targets[0].id == "alice@example.com"
    assert event.metadata == {"answer": "250 Kept as number 1"}


def test_a_test_message_that_is_refused_says_why(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the mail server answered, or that it did not, on the page and in the log."""
    client = signed_in()
    postbox = Postbox()
    postbox.refuse["RCPT"] = "550 Not for <you>"
    with serving(postbox) as port:
        use(port)
        page = client.post("/settings/general/email/test/", follow=True).content.decode()
    assert "550 Not for &lt;you&gt;" in page
    assert (events()[-1].action, events()[-1].outcome) == ("email.tested", "failure")
    assert "550 Not for <you>" in events()[-1].metadata["answer"]
    monkeypatch.setattr(mail, "TIMEOUT_S", 0.2)
    with silent() as port:
        use(port)
        page = client.post("/settings/general/email/test/", follow=True).content.decode()
    assert "did not answer within 0.2 seconds" in page


@pytest.mark.parametrize("name", ["Acme\r\nBcc: eve@example.com", "Acme\u202egro", "Acme\x1b[2J", "A\u200bcme"])
def test_the_name_is_one_printable_line(alice: User, name: str) -> None:
    """It stands in subjects and titles. One that was stored before is a failed test message, and no fault."""
    client = signed_in()
    assert save(client, "/settings/general/workspace/", workspace_name=name).status_code == 400
    assert preferences().workspace_name == "OpsSentinal"
    update_preferences(user_actor(alice), Context(), "general", workspace_name="Acme\nand Sons")
    with serving(Postbox()) as port:
        use(port)
        response = client.post("/settings/general/email/test/", follow=True)
    assert response.status_code == 200
    assert "cannot be the subject" in response.content.decode()
    assert (events()[-1].action, events()[-1].outcome) == ("email.tested", "failure")


def test_the_least_length_of_passwords_follows_the_settings(alice: User) -> None:
    """Longer from the moment it is saved, and the page that asks for a password says so."""
    client = signed_in()
    save(client, "/settings/security/rules/", password_length_min=30)
    values = {"oldpassword": PASSWORD, "password1": "a wholly different one", "password2": "a wholly different one"}
    page = client.post("/profile/password/", values).content.decode()
    assert "at least 30 characters" in page
    save(client, "/settings/security/rules/", password_length_min=8)
    short = {"oldpassword": PASSWORD, "password1": "xq7-vbt2", "password2": "xq7-vbt2"}
    assert client.post("/profile/password/", short).status_code == 302


@pytest.mark.parametrize("attempts", [3, 12])
def test_the_lock_out_follows_the_settings(alice: User, bob: User, attempts: int) -> None:
    """So many wrong passwords are checked; the next is refused, the right one too, and recorded once as locked_out."""
    save(signed_in(), "/settings/security/rules/", lockout_attempts=attempts)
    answers = [sign_in(browser(f"198.51.100.{n}"), bob.email, "wrong").status_code for n in range(attempts)]
    assert answers == [200] * attempts
    assert [sign_in(browser("198.51.100.200"), bob.email).status_code for _ in range(2)] == [429, 429]
    assert [event.metadata["reason"] for event in events("login.failure")][attempts:] == ["locked_out"]


def test_many_people_behind_one_address_are_another_limit(alice: User) -> None:
    """Failures for many accounts from one address are refused as rate_limited: no account is locked out."""
    for number in range(10):
        sign_in(browser(), f"nobody{number}@example.com", "wrong")
    assert sign_in(browser()).status_code == 429
    assert events()[-1].metadata["reason"] == "rate_limited"
    assert sign_in(browser("203.0.113.77")).status_code == 302


@pytest.mark.parametrize(
    "wrong",
    [
        {"password_length_min": 7}, {"password_length_min": 129}, {"lockout_attempts": 2}, {"lockout_minutes": 0},
        {"second_factor_required": "somebody"},
    ],
)  # fmt: skip
def test_rules_out_of_bounds_are_refused(alice: User, wrong: dict[str, Any]) -> None:
    """With a reason, and nothing is stored or recorded."""
    assert save(signed_in(), "/settings/security/rules/", **wrong).status_code == 400
    assert events("settings.updated") == []


def test_auditors_are_let_in_and_out(alice: User) -> None:
    """The checkbox is the preference, both ways, and each way is recorded."""
    client = signed_in()
    save(client, "/settings/security/rules/", auditors_read_log="on")
    assert preferences().auditors_read_log
    save(client, "/settings/security/rules/")
    assert not preferences().auditors_read_log
    assert [event.changes[0].after for event in events("settings.updated")] == [True, False]


def test_the_page_shows_the_address_and_warns_of_an_unlisted_proxy(alice: User) -> None:
    """The header is not believed, and the admin reads from which peer it came; without one there is no warning."""
    client = signed_in()
    page = client.get("/settings/general/").content.decode()
    assert "not a listed proxy.</strong>" not in page
    assert "203.0.113.9" in page
    browser("198.51.100.7").get("/accounts/login/", headers={"x-forwarded-for": "192.0.2.1"})
    sign_in(Client(headers={"user-agent": AGENT, "x-forwarded-for": "192.0.2.1"}, REMOTE_ADDR="198.51.100.7"))
    page = client.get("/settings/general/").content.decode()
    assert "from 198.51.100.7, which is not a listed proxy" in page
    assert events()[-1].context.ip == "198.51.100.7"
    assert events()[-1].context.forwarded_for == ["192.0.2.1"]
