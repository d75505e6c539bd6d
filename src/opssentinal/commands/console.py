"""What commands show: progress on a terminal only, and text from events with nothing in it that a terminal would obey."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from opssentinal.events.sentences import visible


def stdout_console() -> Console:
    """Where results go. Markup and highlighting are off: what stands in an event is shown, never obeyed."""
    return Console(markup=False, highlight=False, emoji=False, soft_wrap=True)


@contextmanager
def progress(what: str, total: int | None, *, is_bytes: bool = False) -> Iterator[Progress]:
    """A progress bar on stderr with one task, id 0; nothing at all unless stderr is a terminal.

    `total` None is a bar that only moves, for work of unknown length.
    """
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if is_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        bar.add_task(what, total=total)
        yield bar


def complain(text: str) -> None:
    """Write one line for a person to stderr, which is never part of the result."""
    print(visible(text), file=sys.stderr)


def json_line(value: Any) -> str:
    """Compact JSON in one line, in which every character that does not print is written as an escape.

    JSON itself lets through some that a terminal obeys, such as U+009B, and those that turn the reading direction.
    """
    text = msgspec.json.encode(value).decode()
    return text if text.isprintable() else "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
