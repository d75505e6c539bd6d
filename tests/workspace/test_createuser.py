"""`opssentinal createuser`."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command
from django.db import DatabaseError

from opssentinal.errors import InvalidInput
from opssentinal.workspace.models import SetupToken, User
from opssentinal.workspace.principals import os_actor
from opssentinal.workspace.setup import setup_token
from tests.workspace.conftest import PASSWORD, browser, events, sign_in, unwritable


def createuser(monkeypatch: pytest.MonkeyPatch, *args: str, password: str = PASSWORD) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    out = io.StringIO()
    call_command("createuser", *args, "--password-stdin", stdout=out)
    return out.getvalue()


def test_an_account_is_created_by_the_operating_systems_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """user.created names who sat at the console; the account can sign in, and setup is closed."""
    setup_token()
    said = createuser(monkeypatch, "Bob@Example.com", "--name", "Bob", "--role", "auditor")
    assert said == "Created bob@example.com (auditor).\n"
    (event,) = events()
    assert (event.action, event.actor, event.metadata) == ("user.created", os_actor(), {"role": "auditor"})
    assert (event.targets[0].email, event.targets[0].name) == ("bob@example.com", "Bob")
    assert setup_token() is None
    assert not SetupToken.objects.exists(), "what is of no more use is gone"
    assert sign_in(browser(), "bob@example.com").status_code == 302


def test_programs_get_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--json` prints the account."""
    account = json.loads(createuser(monkeypatch, "bob@example.com", "--json"))
    user = User.objects.get()
    assert account == {"id": f"user_{user.pk}", "email": "bob@example.com", "name": "", "role": "member"}


@pytest.mark.parametrize(
    ("email", "password", "told"),
    [
        ("bob", PASSWORD, "email: "),
        ("bob@exa\u202emple.com", PASSWORD, "email: "),
        ("bob@exam\u200bple.com", PASSWORD, "email: "),
        ("alice@example.com", PASSWORD, "already exists"),
        ("bob@example.com", "x", "password: "),
    ],
)
def test_faults_are_named(monkeypatch: pytest.MonkeyPatch, alice: User, email: str, password: str, told: str) -> None:
    """A bad or taken address and a weak password create and record nothing."""
    with pytest.raises(InvalidInput, match=told):
        createuser(monkeypatch, email, password=password)
    assert User.objects.count() == 1
    assert events() == []


def test_without_a_terminal_the_password_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither prompt nor --password-stdin: told what to do."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(InvalidInput, match="--password-stdin"):
        call_command("createuser", "bob@example.com")


@pytest.mark.parametrize("table", ["ledger_bundle", "workspace_user"])
def test_an_account_comes_only_together_with_its_record(monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    """With the log broken there is no account, with the accounts broken no record."""
    with unwritable(table), pytest.raises(DatabaseError):
        createuser(monkeypatch, "bob@example.com")
    assert not User.objects.exists()
    assert events() == []
