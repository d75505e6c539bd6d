"""A user agent in a few words: “Firefox 140 on Linux”. The whole text stays beside it, for this is what clients claim."""

from __future__ import annotations

from functools import lru_cache

import ua_parser

from opssentinal.events.sentences import visible

_SYSTEMS = {"Mac OS X": "macOS"}
_CHARS_MAX = 48


@lru_cache(maxsize=4096)
def user_agent_words(text: str) -> str:
    """Return program and system as far as they are known, else the beginning of the text."""
    found = ua_parser.parse(text)
    if found.user_agent is None:
        first = visible(text.split(" (")[0].split()[0] if text.split() else text)
        return first if len(first) <= _CHARS_MAX else first[: _CHARS_MAX - 1] + "…"
    program = found.user_agent.family + (f" {found.user_agent.major}" if found.user_agent.major else "")
    if found.os is None or found.os.family == "Other":
        return visible(program)
    return visible(f"{program} on {_SYSTEMS.get(found.os.family, found.os.family)}")
