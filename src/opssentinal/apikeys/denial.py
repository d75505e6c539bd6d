"""A key that asked for what it may not do, or from where it may not: a refusal is itself an event."""

from __future__ import annotations

from opssentinal.apikeys.principal import KeyPrincipal
from opssentinal.errors import Forbidden
from opssentinal.events.model import Context, Event, Target
from opssentinal.workspace.access import record_once

_PATH_MAX = 256
# What a key is refused that may not be used from where it is. One for all addresses and paths, which a thief could vary.
_API = Target(type="api", id="api", name="the API")


def record_denial(
    principal: KeyPrincipal, refused: Forbidden, context: Context, *, method: str, path: str, scope: str = ""
) -> None:
    """Record access.denied: at most one per key, `scope` and minute, so that a program in a loop does not fill the log.

    `scope` is the one that the key does not have, "" where it may not be used at all. In a transaction of its own.
    """
    wanted = Target(type="scope", id=scope, name=scope) if scope else _API
    record_once(
        f"api-denial:{principal.id}:{scope}",
        Event(
            action="access.denied",
            outcome="denied",
            actor=principal.actor(),
            targets=[wanted],
            context=context,
            metadata={"method": method, "path": path[:_PATH_MAX], "reason": refused.code},
        ),
    )
