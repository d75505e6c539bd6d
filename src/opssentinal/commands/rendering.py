"""Events as a terminal or a pipe shows them: a table for people, tab-separated lines and JSON lines for programs.

Everything that comes from an event passes `visible`, so that no event can move a cursor or forge a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from opssentinal.commands.console import json_line
from opssentinal.events.model import RecordedEvent, rfc3339
from opssentinal.events.sentences import display_name, sentence, visible

# A mark for each outcome, so that colour is never the only sign.
_MARKS = {"success": ("✓", "green"), "failure": ("✗", "red"), "denied": ("⊘", "yellow"), "unknown": ("·", "dim")}


def table(events: Iterable[RecordedEvent], tz: tzinfo) -> Table:
    """A table as wide as the terminal; what does not fit is cut with an ellipsis."""
    found = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    found.add_column(f"Time ({_zone_name(tz)})", no_wrap=True)
    found.add_column("Actor", no_wrap=True, overflow="ellipsis", ratio=3)
    found.add_column("Action", no_wrap=True, overflow="ellipsis", ratio=4)
    found.add_column("Outcome", no_wrap=True)
    found.add_column("Target", no_wrap=True, overflow="ellipsis", ratio=4)
    found.add_column("IP address", no_wrap=True, overflow="ellipsis", min_width=15)
    found.add_column("seq", justify="right", no_wrap=True)
    found.expand = True
    for event in events:
        mark, style = _MARKS.get(event.outcome, _MARKS["unknown"])
        found.add_row(
            _clock(event.occurred_at, tz),
            Text(display_name(event.actor)),
            Text(visible(event.action)),
            Text(f"{mark} {visible(event.outcome)}", style=style),
            Text(", ".join(map(display_name, event.targets))),
            Text(visible(event.context.ip or "")),
            str(event.seq),
        )
    return found


def line(event: RecordedEvent, tz: tzinfo) -> Text:
    """One line for a person: when, how it ended, what happened as a sentence, from where."""
    mark, style = _MARKS.get(event.outcome, _MARKS["unknown"])
    said = sentence(event.action, event.outcome, event.actor, event.targets, event.changes, event.message)
    text = Text(f"{_clock(event.occurred_at, tz)}  ").append(mark, style=style).append(f" {said}")
    where = " · ".join(filter(None, (visible(event.context.ip or ""), visible(event.source), f"#{event.seq}")))
    return text.append(f"  {where}", style="dim")


def tab_separated(event: RecordedEvent) -> str:
    """Time, actor, action, outcome, targets, address, source and seq, for cut and awk; tabs in a value are spelled out."""
    return "\t".join(
        (
            rfc3339(event.occurred_at),
            display_name(event.actor),
            visible(event.action),
            visible(event.outcome),
            "; ".join(map(display_name, event.targets)),
            visible(event.context.ip or ""),
            visible(event.source),
            str(event.seq),
        )
    )


def show(
    events: Iterable[RecordedEvent], console: Console, tz: tzinfo, *, is_json: bool, as_lines: bool = False
) -> None:
    """Print events: JSON lines if asked for, else for a terminal a table (or sentences, `as_lines`), else tab-separated."""
    if is_json or not console.is_terminal:
        for event in events:
            console.file.write((json_line(event) if is_json else tab_separated(event)) + "\n")
    elif as_lines:
        for event in events:
            console.print(line(event, tz))
    else:
        console.print(table(events, tz), soft_wrap=False)
    console.file.flush()


def _clock(moment: datetime, tz: tzinfo) -> str:
    return moment.astimezone(tz).strftime("%Y-%m-%d %H:%M:%S")


def _zone_name(tz: tzinfo) -> str:
    return getattr(tz, "key", None) or "UTC"
