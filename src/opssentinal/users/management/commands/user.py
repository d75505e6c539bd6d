"""`opssentinal user`: list and change accounts from the command line, also on the day nobody can sign in any more."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from opssentinal.errors import NotFound
from opssentinal.events.model import Context
from opssentinal.events.sentences import visible
from opssentinal.users import services
from opssentinal.users.listing import STATES, account_facts, accounts_with_state, find_accounts, last_seen
from opssentinal.workspace.models import Role
from opssentinal.workspace.principals import os_actor

_CHANGES = {
    "deactivate": "switch an account off; its sessions, links and API keys end",
    "reactivate": "switch an account on again",
    "reset-password": "print a one-time link to set a password; links made before work no more",
    "reset-second-factor": "remove the second factor of who has lost it",
}


class Command(BaseCommand):
    """Records what it changes with the operating system's user as actor."""

    help = (
        "List accounts, switch them off and on, change roles, and help who has lost a password or a second factor. "
        "`createuser` makes new ones."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """One subcommand for each thing that can be done."""
        actions = parser.add_subparsers(dest="subcommand", required=True, metavar="list|role|…")
        every = actions.add_parser("list", help="list accounts by their address")
        every.add_argument("search", nargs="?", default="", help="a part of the name or address")
        every.add_argument("--role", choices=Role.values, default="", help="only with this role")
        every.add_argument("--state", choices=list(STATES), default="", help="only in this state")
        role = actions.add_parser("role", help="give an account another role")
        parsers = [every, role]
        for name, meaning in _CHANGES.items():
            parsers.append(actions.add_parser(name, help=meaning))
        for parser_ in parsers:
            if parser_ is not every:
                parser_.add_argument("email", help="the address of the account")
            if parser_ is role:
                parser_.add_argument("role", choices=Role.values, help="the role it gets")
            parser_.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    def handle(self, *, subcommand: str, as_json: bool, **options: Any) -> None:
        """Raises NotFound for an unknown address, and Conflict where an account cannot be changed so."""
        if subcommand == "list":
            self._list(options["search"], options["role"], options["state"], as_json)
            return
        user = _account(options["email"])
        act = getattr(self, f"_{subcommand.replace('-', '_')}")
        said, more = act(user, options["role"]) if subcommand == "role" else act(user)
        if as_json:
            self.stdout.write(json.dumps(account_facts(_account(user.email)) | more))
            return
        if "link" in more:
            self.stdout.write(more["link"])
            self.stderr.write(said)
        else:
            self.stdout.write(said)

    def _list(self, search: str, role: str, state: str, as_json: bool) -> None:
        found = find_accounts(search=search, role=role, state=state)
        if as_json:
            self.stdout.write(json.dumps([account_facts(user) for user in found]))
            return
        for user in found:
            seen = last_seen(user)
            when = f"last seen {seen:%Y-%m-%d %H:%M}Z" if seen else "never seen"
            name = f"  {visible(user.name)}" if user.name else ""
            self.stdout.write(f"{user.role:<7}  {user.state:<11}  {visible(user.email)}{name}  {when}")

    def _role(self, user: Any, role: str) -> tuple[str, dict[str, Any]]:
        changed = services.update(user, os_actor(), Context(), role=role)
        return f"{visible(user.email)} {'is now' if changed else 'was already'} {role}.", {}

    def _deactivate(self, user: Any) -> tuple[str, dict[str, Any]]:
        changed = services.deactivate(user, os_actor(), Context())
        return f"{visible(user.email)} {'is' if changed else 'was already'} deactivated.", {}

    def _reactivate(self, user: Any) -> tuple[str, dict[str, Any]]:
        changed = services.reactivate(user, os_actor(), Context())
        return f"{visible(user.email)} {'can sign in again' if changed else 'was not deactivated'}.", {}

    def _reset_password(self, user: Any) -> tuple[str, dict[str, Any]]:
        issued = services.issue_link(user, os_actor(), Context(), by_mail=False)
        until = f"{issued.user.link_expires_at:%Y-%m-%d %H:%M} UTC"
        said = f"Give this link to {visible(user.email)} only. It works once, until {until}, and is not shown again."
        return said, {"link": issued.url}

    def _reset_second_factor(self, user: Any) -> tuple[str, dict[str, Any]]:
        removed = services.reset_second_factor(user, os_actor(), Context())
        return f"{visible(user.email)} {'has no second factor any more' if removed else 'had no second factor'}.", {}


def _account(email: str) -> Any:
    user = accounts_with_state().filter(email=email.strip().lower()).first()
    if user is None:
        raise NotFound(f"There is no account {email!r}.", hint="`opssentinal user list` shows them.")
    return user
