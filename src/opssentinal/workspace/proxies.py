"""The last request that came with a forwarded header from somebody who is no listed proxy, for a warning to admins.

Either the list of trusted proxies is incomplete, and then every event carries the proxy's address instead of the client's;
or a client tried to pass for somebody else. Kept in memory, one sighting at most: pages and ingest note it on every such
request, so a wrong list shows itself again soon after a restart.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple


class Sighting(NamedTuple):
    """`header` as it is called, the peer of the socket, whether that is a trusted proxy, and when."""

    header: str
    peer: str
    is_trusted: bool
    at: datetime


_last: list[Sighting] = []


def note_header(header: str, peer: str, is_trusted: bool) -> None:
    """Remember this in the place of what was noted before. One assignment, so threads need no lock."""
    _last[:] = [Sighting(header, peer[:64] or "an unknown address", is_trusted, datetime.now(UTC))]


def last_sighting() -> Sighting | None:
    """What was noted last; None if nothing has been since the server started."""
    return _last[0] if _last else None


def forget() -> None:
    """Begin anew, as after a start."""
    _last.clear()
