"""Every request that the product makes of its own accord, through one guarded door.

An address that a person typed, or that a foreign document named, must not become a way into the network the product stands
in. So each request is https unless the operator allows otherwise, follows no redirect, resolves its host once, checks every
address against the reserved ranges and connects to a checked address itself. It ends by a deadline and reads a bounded body.
"""

from opssentinal.outbound.adapter import session
from opssentinal.outbound.address import InvalidAddress, Refused, check_url
from opssentinal.outbound.sending import Answer, send

__all__ = ["Answer", "InvalidAddress", "Refused", "check_url", "send", "session"]
