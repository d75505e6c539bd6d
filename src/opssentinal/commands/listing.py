"""The list of the product's commands: `opssentinal --help`, each command's examples, and the guide come from it.

It is plain values, so that `--help` answers at once, without Django, a data directory or a database.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

PROGRAM = "opssentinal"

# Django's own options, which would bury those of a command; they work all the same.
HIDDEN_OPTIONS = frozenset(
    (
        "--version",
        "--verbosity",
        "--settings",
        "--pythonpath",
        "--traceback",
        "--no-color",
        "--force-color",
        "--skip-checks",
    )
)

# What must be there before a command runs: nothing, or a log whose tables are those of this version.
Needs = Literal["nothing", "log"]


class Command(NamedTuple):
    """One command. `summary` is its line in `--help`; `examples` are whole command lines, each with what it does."""

    name: str
    summary: str
    needs: Needs
    examples: tuple[tuple[str, str], ...]


GROUPS: dict[str, tuple[Command, ...]] = {
    "Run": (
        Command(
            "serve",
            "Run the server: pages, API, search and the scheduled work.",
            "nothing",
            (
                ("opssentinal serve", "serve on http://127.0.0.1:8000, setting up the data directory first if need be"),
                ("opssentinal serve --host 0.0.0.0 --port 8080", "listen on every address, on another port"),
            ),
        ),
        Command(
            "demo",
            "Fill a data directory of its own with 90 days of invented events.",
            "nothing",
            (
                ("opssentinal demo", "fill ./demo-data and print the demo login"),
                ("OPSSENTINAL_DATA_DIR=demo-data opssentinal serve", "then look at it"),
            ),
        ),
        Command(
            "check",
            "Show the settings in force and whether everything they name can be used.",
            "nothing",
            (
                ("opssentinal check", "before the first start, and when something is wrong"),
                ("opssentinal check --json", "the same for a program"),
            ),
        ),
    ),
    "Events": (
        Command(
            "import",
            "Read events from files: AWS CloudTrail, or newline-delimited JSON.",
            "log",
            (
                ("opssentinal import cloudtrail AWSLogs/", "a folder of AWS's own .json.gz files, with all below it"),
                ("opssentinal import cloudtrail events.ndjson --dry-run", "only say what would happen"),
                ("opssentinal import ndjson - --source billing < events.ndjson", "our own event format, from a pipe"),
            ),
        ),
        Command(
            "search",
            "Find events with a query, newest first.",
            "log",
            (
                ("opssentinal search actor:alice after:7d", "what Alice did in the last seven days"),
                ("opssentinal search outcome:denied --from 2026-01-01 --to 2026-01-31", "denials in January"),
                ("opssentinal search is:sensitive -actor:ci --json --limit 1000", "a thousand events as JSON lines"),
            ),
        ),
        Command(
            "tail",
            "Show the newest events, and with -f those that arrive.",
            "log",
            (
                ("opssentinal tail", "the newest 20, the last one at the bottom"),
                ("opssentinal tail -f --json", "every event from now on as a JSON line"),
                ("opssentinal tail -f outcome:denied", "the newest denials, and those to come"),
            ),
        ),
        Command(
            "export",
            "Write the events of a query to a CSV, JSONL or Parquet file.",
            "log",
            (
                ("opssentinal export outcome:failure after:30d -o failures.csv", "the format follows from the name"),
                ("opssentinal export --format jsonl -o everything.jsonl", "the whole log, exactly"),
            ),
        ),
    ),
    "Access": (
        Command(
            "createuser",
            "Create an account.",
            "log",
            (
                ("opssentinal createuser alice@example.com --name Alice --role admin", "asks for the password"),
                ("opssentinal createuser bob@example.com --password-stdin < secret.txt", "for a script"),
            ),
        ),
        Command(
            "user",
            "List and change accounts, and help who cannot sign in.",
            "log",
            (
                ("opssentinal user list --state invited", "who has not come in yet"),
                ("opssentinal user reset-password alice@example.com", "a one-time link for a forgotten password"),
                ("opssentinal user role bob@example.com admin", "make somebody an admin"),
                ("opssentinal user deactivate bob@example.com", "signed out everywhere, API keys revoked"),
            ),
        ),
        Command(
            "apikey",
            "Create, list and revoke API keys.",
            "log",
            (
                ("opssentinal apikey create billing --source billing", "a key that may write events; shown once"),
                ("opssentinal apikey list", "every key, never its secret"),
                ("opssentinal apikey revoke k4fQ2mXw", "it stops working within two seconds"),
            ),
        ),
    ),
    "Maintenance": (
        Command(
            "fsck",
            "Derive every hash of the log again and compare.",
            "log",
            (
                ("opssentinal fsck", "exit status 0 when the log is whole, 70 when it is not"),
                ("opssentinal fsck --json", "the report for a program"),
            ),
        ),
        Command(
            "reindex",
            "Build the search index again from the log.",
            "log",
            (("opssentinal reindex", "while the server runs; searches go on meanwhile"),),
        ),
        Command(
            "prune",
            "Let go of the text of events past the audit retention.",
            "log",
            (
                ("opssentinal prune --dry-run", "how many events are past the retention"),
                ("opssentinal prune", "what the server also does each night"),
            ),
        ),
        Command(
            "cleanup",
            "Remove expired sessions and old exports; never an audit event.",
            "log",
            (("opssentinal cleanup", "what the server also does each night"),),
        ),
        Command(
            "migrate",
            "Bring the tables of the database to this version; `serve` does it by itself.",
            "nothing",
            (
                ("opssentinal migrate", "before starting many servers on one PostgreSQL"),
                ("opssentinal migrate --check", "only say, by the exit status, whether there is something to do"),
            ),
        ),
    ),
}

COMMANDS: dict[str, Command] = {command.name: command for group in GROUPS.values() for command in group}


def overview() -> str:
    """The text of `opssentinal --help`."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"Usage: {PROGRAM} COMMAND [options]", "", "The self-hosted audit log.", ""]
    for title, commands in GROUPS.items():
        lines += [f"{title}:", *(f"  {command.name:<{width}}{command.summary}" for command in commands), ""]
    lines += [
        f"  {PROGRAM} COMMAND --help   options and examples of a command",
        f"  {PROGRAM} --version        the version",
        f"  {PROGRAM} django …         Django's own commands, such as dbshell",
        "",
        "Settings come from the environment (OPSSENTINAL_…); docs/guide/configuration.md lists them.",
    ]
    return "\n".join(lines)


def examples(command: Command) -> str:
    """The examples as they end a command's `--help`."""
    return "Examples:\n" + "\n".join(f"  {line}\n      {meaning}" for line, meaning in command.examples)
