"""`opssentinal apikey`: create, list and revoke API keys from the command line."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from opssentinal.apikeys.principal import EVENTS_WRITE, SCOPES
from opssentinal.apikeys.services import create_key, key_facts, keys_of, revoke_key
from opssentinal.events.model import Context
from opssentinal.events.sentences import visible
from opssentinal.workspace.principals import os_actor

_DAYS_MAX = 36_500


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _DAYS_MAX:
        raise ArgumentTypeError(f"must be a number of days from 1 to {_DAYS_MAX}")
    return int(text)


class Command(BaseCommand):
    """Records api_key.created and api_key.revoked with the operating system's user as actor."""

    help = "Create, list and revoke API keys. A new key's token is printed once, on standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        """Three subcommands."""
        actions = parser.add_subparsers(dest="subcommand", required=True, metavar="create|list|revoke")
        create = actions.add_parser("create", help="create a key and print its token, once")
        create.add_argument("name", help="what people recognise it by")
        create.add_argument("--source", required=True, help="the program that uses it: the source of its events")
        create.add_argument(
            "--scope",
            action="append",
            choices=list(SCOPES),
            dest="scopes",
            help=f"what it may do, repeatable; default: {EVENTS_WRITE}",
        )
        create.add_argument("--tenant", help="the only tenant it may send for and see")
        create.add_argument("--expires-days", type=_days, metavar="DAYS", help="default: never")
        create.add_argument(
            "--network", action="append", default=[], dest="networks", metavar="CIDR", help="only from here, repeatable"
        )
        every = actions.add_parser("list", help="list every key, newest first")
        revoke = actions.add_parser("revoke", help="revoke a key; it stops within two seconds")
        revoke.add_argument("public_id", metavar="ID", help="the 8 characters after ops_")
        for parser_ in (create, every, revoke):
            parser_.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    def handle(self, *, subcommand: str, **options: Any) -> None:
        """Raises InvalidInput, NotFound or Conflict."""
        getattr(self, f"_{subcommand}")(**options)

    def _create(
        self,
        *,
        name: str,
        source: str,
        scopes: list[str] | None,
        tenant: str | None,
        expires_days: int | None,
        networks: list[str],
        as_json: bool,
        **_: Any,
    ) -> None:
        made = create_key(
            actor=os_actor(),
            context=Context(),
            name=name,
            source=source,
            scopes=scopes or [EVENTS_WRITE],
            tenant=tenant,
            expires_at=None if expires_days is None else timezone.now() + timedelta(days=expires_days),
            networks=networks,
        )
        if as_json:
            self._print_json(key_facts(made.key) | {"token": made.token})
            return
        self.stdout.write(made.token)
        self.stderr.write(f"Created the key {visible(made.key.name)}. Keep its token now; it is shown only this once.")

    def _list(self, *, as_json: bool, **_: Any) -> None:
        keys = list(keys_of())
        if as_json:
            self._print_json([key_facts(key) for key in keys])
            return
        for key in keys:
            used = f"used {key.last_used_at:%Y-%m-%d %H:%M}Z" if key.last_used_at else "never used"
            tenant = f" tenant {visible(key.tenant)}" if key.tenant else ""
            self.stdout.write(
                f"{key.public_id}  {key.state:<7}  {key.source}{tenant}  {visible(key.name)}  "
                f"[{' '.join(key.scopes)}]  {used}"
            )

    def _revoke(self, *, public_id: str, as_json: bool, **_: Any) -> None:
        key = revoke_key(public_id, actor=os_actor(), context=Context())
        if as_json:
            self._print_json(key_facts(key))
        else:
            self.stdout.write(f"Revoked {visible(key.name)} ({key.public_id}).")

    def _print_json(self, value: object) -> None:
        self.stdout.write(msgspec.json.encode(value).decode())
