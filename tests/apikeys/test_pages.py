"""Settings → API keys in the browser of an admin, and of somebody who is none."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from django.contrib.sessions.models import Session
from django.test import Client

from opssentinal.apikeys.authentication import authenticate
from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.services import CreatedKey
from opssentinal.apikeys.token import TOKEN_PATTERN
from opssentinal.ledger.reader import newest

PAGE = "/settings/api-keys/"
BILLING = {"name": "Billing", "source": "billing", "scopes": ["events:write", "events:read"], "expires": "90"}


def form_key(page: bytes) -> str:
    """What the form on a page carries so that it makes one key only."""
    [found] = re.findall(r'name="form_key" value="([^"]+)"', page.decode())
    return html.unescape(found)


def filled(browser: Client, **fields: object) -> dict[str, object]:
    """The form as a browser loads it and a person fills it in."""
    return {**BILLING, "form_key": form_key(browser.get(f"{PAGE}new/").content), **fields}


def test_a_key_is_created_and_shown_once(alice: Client) -> None:
    """The answer to the form holds a working token that nothing may store; no later page has it."""
    answer = alice.post(f"{PAGE}new/", filled(alice))
    assert answer.status_code == 201
    assert "no-store" in answer.headers["Cache-Control"]
    [token] = set(re.findall(TOKEN_PATTERN, html.unescape(answer.content.decode())))
    assert authenticate(token).source == "billing"
    key = APIKey.objects.get()
    assert key.created_by is not None and key.created_by.email == "alice@example.com"
    assert key.expires_at is not None and 89 <= (key.expires_at - key.created_at).days <= 90
    [event] = [event for event in newest(5) if event.action == "api_key.created"]
    assert event.actor is not None and event.actor.email == "alice@example.com"
    listed = alice.get(PAGE).content.decode()
    assert "Billing" in listed and f"ops_{key.public_id}" in listed
    assert token not in listed and token[12:44] not in listed


def test_a_faulty_form_says_what_is_wrong(alice: Client) -> None:
    """Each fault stands at its field; no key is made."""
    form = filled(alice, source="Not Good", networks="10.0.0.1/8")
    answer = alice.post(f"{PAGE}new/", form)
    assert answer.status_code == 400
    assert "program&#x27;s name" in answer.content.decode()
    assert not APIKey.objects.exists()
    mended = form | {"source": "billing", "networks": "", "form_key": form_key(answer.content)}
    assert alice.post(f"{PAGE}new/", mended).status_code == 201


def test_loading_the_new_key_again_makes_no_second_one(alice: Client) -> None:
    """A form that is sent twice makes one key and one event, and its token is in the first answer only, on no disk."""
    form = filled(alice)
    first = alice.post(f"{PAGE}new/", form)
    [token] = set(re.findall(TOKEN_PATTERN, first.content.decode()))
    again = alice.post(f"{PAGE}new/", form, follow=True)
    assert again.redirect_chain == [(PAGE, 302)]
    assert "already; no second one was created" in again.content.decode()
    assert token not in again.content.decode()
    assert APIKey.objects.count() == 1
    assert [event.action for event in newest(9)].count("api_key.created") == 1
    assert authenticate(token).source == "billing"
    assert token not in str([session.get_decoded() for session in Session.objects.all()])


def test_two_forms_make_two_keys(alice: Client) -> None:
    """Forms in two tabs, loaded one after the other, do not use each other up."""
    forms = [filled(alice), filled(alice)]
    assert [alice.post(f"{PAGE}new/", form).status_code for form in forms] == [201, 201]
    assert APIKey.objects.count() == 2


def test_a_form_whose_key_nobody_chose_makes_none(alice: Client) -> None:
    """Public ids are chosen here: one that is missing or was tampered with is refused, and the next try works."""
    for forged in ("", "AAAAAAAA", filled(alice)["form_key"][1:]):  # type: ignore[index]
        refused = alice.post(f"{PAGE}new/", BILLING | {"form_key": forged})
        assert refused.status_code == 400
        assert "Nothing has been created" in refused.content.decode()
        assert not APIKey.objects.exists()
    assert alice.post(f"{PAGE}new/", BILLING | {"form_key": form_key(refused.content)}).status_code == 201


def test_the_example_has_the_address_that_the_reader_uses(alice: Client) -> None:
    """Behind a forwarded port or another name, the command works as it is copied."""
    answer = alice.post(f"{PAGE}new/", filled(alice), headers={"host": "localhost:9137"})
    assert "curl http://localhost:9137/api/v1/events" in html.unescape(answer.content.decode())


def test_revoking_asks_first(alice: Client, make_key: Callable[..., CreatedKey]) -> None:
    """Looking at the question changes nothing; answering it revokes; a second answer is told so."""
    key = make_key().key
    address = f"{PAGE}{key.public_id}/revoke/"
    assert "Revoke Billing?" in alice.get(address).content.decode()
    assert APIKey.objects.get().revoked_at is None
    assert alice.post(address, follow=True).status_code == 200
    assert APIKey.objects.get().revoked_at is not None
    assert "was revoked before" in alice.post(address, follow=True).content.decode()
    assert [event.action for event in newest(9)].count("api_key.revoked") == 1
    assert alice.get(f"{PAGE}00000000/revoke/").status_code == 404


def test_only_admins(bob: Client, make_key: Callable[..., CreatedKey]) -> None:
    """A member gets 403, recorded; somebody anonymous is sent to sign in; neither changes anything."""
    key = make_key().key
    for address in (PAGE, f"{PAGE}new/", f"{PAGE}{key.public_id}/revoke/"):
        assert bob.post(address).status_code == 403
        assert Client().get(address).status_code == 302
    assert [event.action for event in newest(9)].count("access.denied") == 3
    assert APIKey.objects.filter(revoked_at=None).count() == 1


def test_a_name_is_text_and_never_markup(alice: Client, make_key: Callable[..., CreatedKey]) -> None:
    """A key called like a script shows as text."""
    make_key(name="<script>alert(1)</script>")
    assert "<script>alert(1)" not in alice.get(PAGE).content.decode()
