"""`opssentinal createuser`: make an account from the command line."""

from __future__ import annotations

import getpass
import json
import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser

from opssentinal.errors import InvalidInput
from opssentinal.events.model import Context
from opssentinal.workspace.accounts import create_account
from opssentinal.workspace.models import Role
from opssentinal.workspace.principals import os_actor


class Command(BaseCommand):
    """Creates an account and records user.created with the operating system's user as actor."""

    help = "Create an account. The password is asked for, or read from standard input; never given as an argument."

    def add_arguments(self, parser: CommandParser) -> None:
        """One address; everything else has a default."""
        parser.add_argument("email", help="address to sign in with")
        parser.add_argument("--name", default="", help="name as the log will show it")
        parser.add_argument("--role", choices=Role.values, default=Role.MEMBER.value, help="default: member")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from the first line of standard input"
        )
        parser.add_argument("--json", action="store_true", help="print the account as JSON")

    def handle(self, *, email: str, name: str, role: str, password_stdin: bool, json: bool, **options: Any) -> None:
        """Raises InvalidInput naming each fault, and Conflict if the address is taken."""
        password = sys.stdin.readline().rstrip("\r\n") if password_stdin else _asked()
        try:
            user = create_account(os_actor(), Context(), email=email, name=name, role=role, password=password)
        except ValidationError as error:
            faults = [f"{field}: {text}" for field, texts in error.message_dict.items() for text in texts]
            raise InvalidInput(" ".join(faults)) from error
        if json:
            self.stdout.write(_as_json({"id": f"user_{user.pk}", "email": user.email, "name": user.name, "role": role}))
        else:
            self.stdout.write(f"Created {user.email} ({role}).")


def _as_json(account: dict[str, str]) -> str:
    return json.dumps(account, ensure_ascii=False)


def _asked() -> str:
    if not sys.stdin.isatty():
        raise InvalidInput("There is no terminal to ask for the password.", hint="Use --password-stdin.")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Password again: ") != password:
        raise InvalidInput("The two passwords differ.")
    return password
