"""Settings → API keys in the browser of an admin, and of somebody who is none."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from django.test import Client

from opssentinal.apikeys.authentication import authenticate
from opssentinal.apikeys.models import APIKey
from opssentinal.apikeys.services import CreatedKey
from opssentinal.apikeys.token import TOKEN_PATTERN
from opssentinal.ledger.reader import newest

PAGE = "/settings/api-keys/"


def test_a_key_is_created_and_shown_once(alice: Client) -> None:
    """The answer to the form holds a working token that nothing may store; no later page has it."""
    form = {"name": "Billing", "source": "billing", "scopes": ["events:write", "events:read"], "expires": "90"}
    answer = alice.post(f"{PAGE}new/", form)
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
    form = {"name": "X", "source": "Not Good", "scopes": ["events:write"], "networks": "10.0.0.1/8"}
    answer = alice.post(f"{PAGE}new/", form)
    assert answer.status_code == 400
    assert "program&#x27;s name" in answer.content.decode()
    assert not APIKey.objects.exists()


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
