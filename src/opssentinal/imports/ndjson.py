"""Our own event format, one event per line: decoded as strictly as the API decodes it."""

from __future__ import annotations

from opssentinal.events.decoding import decode_event
from opssentinal.events.model import Event

SOURCE = "import"


def event_from_record(raw: bytes) -> Event:
    """Read one line; an event that names no source is from `import`. Raises InvalidEvent."""
    event = decode_event(raw)
    if event.source is None:
        event.source = SOURCE
    return event
