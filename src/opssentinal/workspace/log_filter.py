"""What the server writes to its own log names addresses of pages; those of one-time links would open an account.

Named by LOGGING in the settings, so it is imported before Django's models and must not need them.
"""

from __future__ import annotations

import logging
import re

_LINK = re.compile(r"(/accounts/password/)[^/\s]+")


class LinksHidden(logging.Filter):
    """Takes the token out of every line that has the address of a one-time link in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record where need be; every record passes."""
        said = record.getMessage()
        hidden = _LINK.sub(r"\1(hidden)", said)
        if hidden != said:
            record.msg, record.args = hidden, None
        return True
