"""Who a program is once its key has been checked, and the closed set of things a key can be allowed to do."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address

from msgspec import Struct

from opssentinal.errors import Forbidden
from opssentinal.events.model import Actor
from opssentinal.query import Filter, Term, literal

EVENTS_WRITE = "events:write"
EVENTS_READ = "events:read"
EXPORTS_READ = "exports:read"
EXPORTS_WRITE = "exports:write"
INCIDENTS_READ = "incidents:read"
INCIDENTS_WRITE = "incidents:write"
KEYS_ADMIN = "keys:admin"

SCOPES: dict[str, str] = {
    EVENTS_WRITE: "Send events",
    EVENTS_READ: "Search and read events, facets, histograms and event types",
    EXPORTS_READ: "List and download exports",
    EXPORTS_WRITE: "Create exports",
    INCIDENTS_READ: "List and read incidents",
    INCIDENTS_WRITE: "Open and change incidents and add notes; with events:read, attach events",
    KEYS_ADMIN: "List, create and revoke API keys",
}


class KeyPrincipal(Struct, frozen=True):
    """A checked key. `id` is its public id; `source` is what it sends as; `tenant`, if set, is all it may send or see."""

    id: str
    name: str
    source: str
    tenant: str | None
    scopes: frozenset[str]
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    expires_at: datetime | None = None

    def require(self, scope: str) -> None:
        """Raise Forbidden unless the key has this scope."""
        if scope not in self.scopes:
            raise Forbidden(
                f"The API key {self.id} does not have the scope {scope}.",
                code="insufficient_scope",
                hint="Create a key with this scope under Settings → API keys.",
            )

    def require_network(self, ip: str | None) -> None:
        """Raise Forbidden if the key is limited to networks and the client's address is in none of them."""
        if not self.networks:
            return
        try:
            address = ip_address(ip or "")
        except ValueError:
            address = None
        if address is None or not any(address in network for network in self.networks):
            raise Forbidden(f"The API key {self.id} may not be used from here.", code="network_not_allowed")

    def bounds(self) -> Filter:
        """The filter that lies over everything this key reads."""
        return Filter(terms=(Term("tenant", (literal(self.tenant),)),)) if self.tenant else Filter()

    def may_see(self, tenant: str | None) -> bool:
        """Whether an event of this tenant is the key's business."""
        return self.tenant is None or self.tenant == tenant

    def actor(self) -> Actor:
        """The key as the actor of an event."""
        return Actor(type="api_key", id=self.id, name=self.name)
