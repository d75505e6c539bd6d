"""Text that people give things as names: one line, and nothing in it that cannot be seen.

Names stand in events, lists, messages and headers. A line break there forges a line, and a character that turns the direction of
writing around makes a name read as another one.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError


def validate_line(text: str) -> None:
    """Raise ValidationError for text with line breaks, control characters or invisible ones."""
    if not text.isprintable():
        raise ValidationError(
            "Use one line of printable characters, without line breaks and invisible characters.", code="not_printable"
        )


def printable_line(text: str) -> str:
    """The text without what `validate_line` refuses; every kind of space becomes one space."""
    return " ".join("".join(char for char in " ".join(text.split()) if char.isprintable()).split())
