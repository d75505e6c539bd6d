"""`opssentinal apikey`."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command

from opssentinal.apikeys.authentication import authenticate
from opssentinal.apikeys.token import is_well_formed
from opssentinal.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from opssentinal.ledger.reader import newest


def run(*args: str) -> tuple[str, str]:
    """Run the command; return what it wrote to stdout and stderr."""
    out, err = StringIO(), StringIO()
    call_command("apikey", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_create_prints_the_token_alone_on_stdout(log: None) -> None:
    """`TOKEN=$(opssentinal apikey create …)` works: stdout is the token and nothing else. The actor is the OS user."""
    out, err = run("create", "Billing", "--source", "billing")
    assert out.count("\n") == 1 and is_well_formed(out.strip())
    assert out.strip() not in err
    assert authenticate(out.strip()).scopes == {"events:write"}
    [event] = newest(1)
    assert (event.action, event.actor and event.actor.type) == ("api_key.created", "os_user")


def test_json_list_and_revoke(log: None) -> None:
    """With --json each answer is one JSON value; list never has a token; revoke ends the key."""
    made = json.loads(
        run(
            "create",
            "B",
            "--source",
            "b",
            "--scope",
            "events:read",
            "--tenant",
            "acme",
            "--expires-days",
            "7",
            "--json",
        )[0]
    )
    assert (made["scopes"], made["tenant"], made["state"]) == (["events:read"], "acme", "active")
    [listed] = json.loads(run("list", "--json")[0])
    assert listed == {name: value for name, value in made.items() if name != "token"}
    assert made["token"] not in run("list")[0]
    assert "B" in run("revoke", made["id"])[0]
    with pytest.raises(Unauthenticated):
        authenticate(made["token"])
    with pytest.raises(Conflict):
        run("revoke", made["id"])
    with pytest.raises(NotFound):
        run("revoke", "00000000")


def test_faults_are_errors_of_ours(log: None) -> None:
    """What the service refuses ends the command with its error, which has an exit status."""
    with pytest.raises(InvalidInput):
        run("create", "B", "--source", "Not A Source")
