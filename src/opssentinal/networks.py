"""Networks as people type them, in the one spelling that clients' addresses are compared in."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

_MAPPED_BITS = 96  # the prefix that stands before an IPv4 address


def network_of(text: str, *, strict: bool = True) -> IPv4Network | IPv6Network:
    """Read a network or an address, one of IPv4 however it is spelt, as clients' addresses are. Raises ValueError.

    ::ffff:10.0.0.0/104 is 10.0.0.0/8 (RFC 4291, Section 2.5.5.2). Bits beyond the prefix are an error if `strict`.
    """
    network = ip_network(text, strict=strict)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network
