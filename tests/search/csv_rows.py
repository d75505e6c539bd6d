"""What docs/guide/export.md promises of a row of CSV, told once more from the event."""

from __future__ import annotations

from opssentinal.events.model import Actor, RecordedEvent

# NUL is in the guide too, and in no event.
FORMULA_STARTS = tuple("=+-@\t\r\n\0\uff1d\uff0b\uff0d\uff20")


def neutral(text: str) -> str:
    """With an apostrophe before what a spreadsheet would take for a formula."""
    return "'" + text if text.startswith(FORMULA_STARTS) else text


def written(cell: str) -> str:
    """Quotes where they are needed and nowhere else; # is a comment to some readers."""
    return '"' + cell.replace('"', '""') + '"' if any(char in cell for char in ',"\r\n#') else cell


def row_of(event: RecordedEvent, json_cells: list[str]) -> list[str]:
    """The cells as docs/guide/export.md tells them, beside those of JSON."""
    actor = event.actor or Actor("", "")
    occurred, at = (each.isoformat().replace("+00:00", "Z") for each in (event.occurred_at, event.recorded_at))
    return [
        occurred, neutral(actor.name or actor.email or actor.id), event.action,
        neutral("; ".join(each.name or each.email or each.id for each in event.targets)),
        neutral(event.context.ip or ""), neutral(event.context.user_agent or ""), str(event.id), str(event.seq),
        at, event.outcome, neutral(actor.type), neutral(actor.id), neutral(actor.email or ""), *json_cells,
        event.source, neutral(event.tenant or ""), neutral(event.message or ""),
    ]  # fmt: skip
