"""How the server's own log is written: one record, one line, and nothing in it that a terminal would obey.

What is logged may repeat what a stranger sent. No text of theirs can begin a record of its own, move the cursor of whoever
reads the log, or turn its reading direction (OWASP ASVS 5.0, 16.4.1).
"""

from __future__ import annotations

import logging

from opssentinal.events.sentences import visible


class Lines(logging.Formatter):
    """Spells out control and format characters; the lines of a traceback are indented, as no record is."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the record in one line."""
        return visible(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        """Return the traceback, each line of it indented."""
        return _indented(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:
        """Return the stack, each line of it indented."""
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join("    " + visible(line) for line in text.split("\n"))
