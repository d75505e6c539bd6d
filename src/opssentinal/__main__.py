"""The `opssentinal` command: every command of the product behind one name, and every error as a sentence.

An error we raise on purpose ends a command with its message and hint on stderr and its own exit status; a traceback is
left for faults of ours. The configuration is read before Django, so that a bad setting is such a sentence too.
"""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opssentinal import config as configuration
from opssentinal.commands import listing
from opssentinal.errors import InvalidInput, OpsSentinalError, Unavailable

if TYPE_CHECKING:
    from django.core.management.base import BaseCommand

DEMO_DIR = "demo-data"
_DEFAULT_DIR = next(setting.default for setting in configuration.SETTINGS if setting.name == "DATA_DIR")
_INTERRUPTED = 128 + signal.SIGINT
_BROKEN_PIPE = 128 + signal.SIGPIPE
_HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 not all of it, else the error's own status (docs/guide/cli.md)."""
    os.umask(0o077)  # what commands make is for its owner alone, also in a directory that was made by somebody else
    sys.exit(_guarded(lambda: _run(list(sys.argv[1:] if argv is None else argv))))


def _run(args: list[str]) -> int:
    name = args[0] if args else "--help"
    if name == "help" and len(args) > 1:
        name, args = args[1], [args[1], "--help"]
    if name in ("help", *_HELP):
        print(listing.overview())
        return 0
    if name in ("--version", "-V", "version"):
        print(f"{listing.PROGRAM} {version('opssentinal')}")
        return 0
    if name == "django":
        return _run_django(args)
    if name not in listing.COMMANDS:
        near = difflib.get_close_matches(name, listing.COMMANDS, 1)
        hint = f"Did you mean {near[0]}?" if near else f"`{listing.PROGRAM} --help` lists every command."
        raise InvalidInput(f"There is no command {name}.", hint=hint)
    return _run_command(listing.COMMANDS[name], args[1:])


def _run_command(listed: listing.Command, args: list[str]) -> int:
    helping = any(arg in _HELP for arg in args)
    config = configuration.load()
    if listed.name == "demo":
        config = _beside_the_default_directory(config)
    if helping:
        os.environ.setdefault("OPSSENTINAL_SECRET_KEY", "never signs anything; spares making one")
    elif listed.needs == "log":
        _require_log_file(config)
    _load_django()
    if listed.needs == "log" and not helping:
        _require_tables()
    return _execute(_loaded(listed), listed, args)


def _execute(command: BaseCommand, listed: listing.Command, args: list[str]) -> int:
    from django.db import connections

    parser = command.create_parser(
        listing.PROGRAM,
        listed.name,
        epilog=listing.examples(listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options: dict[str, Any] = vars(parser.parse_args(_with_negated_terms(args)))
    positional = options.pop("args", ())
    if os.environ.get("NO_COLOR"):
        options["no_color"], options["force_color"] = True, False
    try:
        command.execute(*positional, **options)
    finally:
        connections.close_all()
    return 0


def _loaded(listed: listing.Command) -> BaseCommand:
    from django.core.management import get_commands, load_command_class

    found = get_commands()[listed.name]
    command = load_command_class(found, listed.name) if isinstance(found, str) else found
    command.suppressed_base_arguments = set(listing.HIDDEN_OPTIONS)
    command.requires_system_checks = []  # they are for developers, and cost every command half a second
    vars(command)["_called_from_command_line"] = True  # a wrong option is answered by usage and exit status 2
    return command


def _with_negated_terms(args: list[str]) -> list[str]:
    """Let `-outcome:success` be a term of a query rather than an option: argparse takes what holds a space as one."""
    from opssentinal.query import KEYS

    return [f" {arg}" if arg.startswith("-") and arg[1:].partition(":")[0] in KEYS else arg for arg in args]


def _run_django(args: list[str]) -> int:
    from django.core.management import ManagementUtility

    configuration.load()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opssentinal.settings")
    utility = ManagementUtility([f"{listing.PROGRAM} django", *args[1:]])
    utility.prog_name = f"{listing.PROGRAM} django"
    utility.execute()
    return 0


def _load_django() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opssentinal.settings")
    django.setup()


def _beside_the_default_directory(config: configuration.Config) -> configuration.Config:
    """The demo never falls into the default data directory: unless another one is named, it has its own."""
    if config.data_dir != Path(_DEFAULT_DIR).absolute():
        return config
    os.environ["OPSSENTINAL_DATA_DIR"] = DEMO_DIR
    return configuration.load()


def _require_log_file(config: configuration.Config) -> None:
    """Refuse before anything is made: a command in the wrong folder must not leave an empty log behind."""
    if not config.database_url and not (config.data_dir / "opssentinal.sqlite3").exists():
        raise Unavailable(
            f"There is no log in {config.data_dir}.",
            hint="Run `opssentinal serve` first, or name another folder with OPSSENTINAL_DATA_DIR.",
            permanent=True,
        )


def _require_tables() -> None:
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise Unavailable(
            "The database is not set up for this version.",
            hint="Run `opssentinal migrate`; `opssentinal serve` does it by itself.",
            permanent=True,
        )


def _guarded(run: Callable[[], int]) -> int:
    """Run, and turn every error there is a word for into a sentence on stderr and an exit status."""
    try:
        status = run()
        sys.stdout.flush()
        return status
    except OpsSentinalError as error:
        return _told(error.detail, error.hint, error.exit_code)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:
        told = _told_by_django(error)
        if told is None:
            raise
        return told


def _told_by_django(error: Exception) -> int | None:
    """What Django raises and a user can do something about; anything else is a fault of ours and keeps its traceback."""
    try:
        from django.core.management.base import CommandError
        from django.db import DatabaseError, InterfaceError, OperationalError
    except ImportError:
        return None
    if isinstance(error, CommandError):
        return _told(str(error), "", error.returncode)
    # A DatabaseError as such is a damaged file; its other children are faults of ours.
    if isinstance(error, (OperationalError, InterfaceError)) or type(error) is DatabaseError:
        said = " ".join(str(error).split())
        return _told(f"The database cannot be used: {said}", "`opssentinal check` says more.", Unavailable.exit_code)
    return None


def _told(message: str, hint: str, status: int) -> int:
    from opssentinal.events.sentences import visible

    for line in filter(None, (message, hint)):
        print("\n".join(map(visible, line.splitlines())), file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
