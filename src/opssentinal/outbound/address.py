"""Which addresses may be spoken to: public ones, and those that the operator lists in OPSSENTINAL_OUTBOUND_ALLOW.

The ranges are those of the IANA special-purpose registries. Python 3.11's `is_global` alone is not enough: it lets pass
IPv6 addresses that carry an IPv4 address inside (NAT64, 6to4, Teredo), multicast, and the metadata service of Azure.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
from django.conf import settings

from opssentinal.errors import Forbidden, InvalidInput

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# An entry of the allow-list: a network, or a host by its name.
Allowed = Iterable[Network | str]

_HINT = "An operator can permit it with OPSSENTINAL_OUTBOUND_ALLOW."

# What every machine of a cloud can ask for its own credentials: nothing that a person means by a server inside.
_METADATA = {
    ipaddress.ip_network(network): reason
    for network, reason in (
        ("169.254.0.0/16", "a link-local address, where clouds keep their metadata service"),
        ("fe80::/10", "a link-local address"),
        ("168.63.129.16/32", "an address of Azure's metadata service"),
        ("100.100.100.200/32", "an address of Alibaba Cloud's metadata service"),
        ("192.0.0.192/32", "an address of Oracle Cloud's metadata service"),
        ("fd00:ec2::/32", "an address of Amazon's metadata service"),
        ("fd20:ce::/32", "an address of Google Cloud's metadata service"),
    )
}

# IANA IPv4 Special-Purpose Address Registry, but for what it marks as globally reachable.
_IPV4_RESERVED = {
    ipaddress.IPv4Network(network): reason
    for network, reason in (
        ("0.0.0.0/8", "an address of this host"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "an address shared behind a carrier's NAT"),
        ("127.0.0.0/8", "a loopback address"),
        ("168.63.129.16/32", "an address of a cloud's metadata service"),
        ("169.254.0.0/16", "a link-local address, where clouds keep their metadata service"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "an address for documentation"),
        ("192.88.99.0/24", "an address of 6to4 relays"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "an address for benchmarks"),
        ("198.51.100.0/24", "an address for documentation"),
        ("203.0.113.0/24", "an address for documentation"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
}
# RFC 4291: global unicast is 2000::/3. Everything outside is refused, and of what is inside the special ranges.
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")
_IPV6_RESERVED = {
    ipaddress.IPv6Network(network): reason
    for network, reason in (
        ("::1/128", "a loopback address"),
        ("::ffff:0:0/96", "an IPv4 address mapped into IPv6"),
        ("::/96", "an IPv4 address inside an IPv6 address"),
        ("64:ff9b::/96", "an IPv4 address behind NAT64"),
        ("64:ff9b:1::/48", "an IPv4 address behind a local NAT64"),
        ("2001::/32", "a Teredo address"),
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "an address for documentation"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "an address for documentation"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("ff00::/8", "a multicast address"),
    )
}
# Where an IPv4 address stands in an IPv6 address: the network, and how far from its right end.
_CARRIERS = tuple(
    (ipaddress.IPv6Network(network), shift)
    for network, shift in (
        ("::/96", 0),
        ("::ffff:0:0/96", 0),
        ("64:ff9b::/96", 0),
        ("64:ff9b:1::/48", 0),
        ("2002::/16", 80),
    )
)
# RFC 5214, Section 6.1: the interface identifier of ISATAP, whose universal bit is either.
_ISATAP = 0x5EFE


class Refused(Forbidden, requests.RequestException):
    """The address may not be spoken to. Also a RequestException, so that a library that speaks `requests` ends in order."""

    code = "address_refused"
    title = "Address refused"


class InvalidAddress(InvalidInput, requests.exceptions.InvalidURL):
    """The URL is not one that the product would call: no https, credentials inside, or a host spelled as a number."""

    code = "invalid_url"
    title = "Invalid URL"


def refusal(address: IPAddress, allowed: Allowed = ()) -> str | None:
    """Say why an address may not be spoken to, such as "a private address"; None where it may.

    A listed network permits its addresses, but not the IPv4 address that one of them carries: that must be permitted itself.
    """
    carried = _carried(address)
    if any(not isinstance(entry, str) and address in entry for entry in allowed):
        return refusal(carried, allowed) if carried is not None else None
    if isinstance(address, ipaddress.IPv4Address):
        return _named(address, _IPV4_RESERVED)
    if (reason := _named(address, _IPV6_RESERVED)) is not None:
        return reason
    if address not in _IPV6_UNICAST:
        return "a reserved address"
    return "an ISATAP address" if carried is not None else None


def metadata_refusal(address: IPAddress, allowed: Allowed = ()) -> str | None:
    """Say why not even a server inside can be at an address: link-local, or of a cloud's metadata service; else None.

    For connections that are not held to `refusal`. A listed network permits its addresses, as there.
    """
    carried = _carried(address)
    reason = None if is_listed(address, allowed) else _named(address, _METADATA)
    return reason or (metadata_refusal(carried, allowed) if carried is not None else None)


def refused(host: str, address: IPAddress, reason: str) -> str:
    """Say what a host is, or what address it has, in the words of `refusal`; an address stays as it was written."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"{host} has the address {address}, {reason}"
    return f"{host} is {reason}"


def is_allowed_host(host: str, allowed: Allowed) -> bool:
    """Tell whether the operator lists this host by its name."""
    return any(isinstance(entry, str) and entry == host.lower().rstrip(".") for entry in allowed)


def is_listed(address: IPAddress, allowed: Allowed) -> bool:
    """Tell whether the operator lists a network that holds this address."""
    return any(not isinstance(entry, str) and address in entry for entry in allowed)


def check_url(url: str) -> SplitResult:
    """Check all that can be known of a URL without asking the network, and return it in parts.

    Raises InvalidAddress for the URL itself, Refused where its host is an address that may not be spoken to.
    """
    allowed = settings.CONFIG.outbound_allow
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidAddress("This is not a URL.") from error
    if parts.scheme not in ("https", "http") or not host:
        raise InvalidAddress("The URL must begin with https:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise InvalidAddress("The URL must hold no user name and no password.")
    if parts.scheme == "http" and not allowed:
        raise InvalidAddress("The URL must begin with https://.", hint=_HINT)
    address = literal(host)
    if address is not None:
        check_address(host, address, is_plain=parts.scheme == "http")
    return parts


def check_address(host: str, address: IPAddress, *, is_plain: bool) -> None:
    """Raise Refused where `host`, which has this address, may not be spoken to; `is_plain` is http without TLS."""
    allowed = settings.CONFIG.outbound_allow
    if is_allowed_host(host, allowed):
        return
    reason = refusal(address, allowed)
    if reason is not None:
        raise Refused(f"{refused(host, address, reason)}: requests to it are refused.", hint=_HINT)
    if is_plain and not is_listed(address, allowed):
        raise Refused(f"Requests to {host} must use https.", hint=_HINT)


def literal(host: str) -> IPAddress | None:
    """The address that a host of a URL spells out, None for a name. Raises InvalidAddress for other spellings of a number."""
    if "%" in host:
        raise InvalidAddress(f"The host {host} names a network interface.")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        # inet_aton reads what browsers and resolvers read too: 2130706433, 0x7f.1, 0177.0.0.1.
        octets = socket.inet_aton(host.rstrip("."))
    except OSError:
        return None
    raise InvalidAddress(f"Write the host {host} in the usual form, {ipaddress.IPv4Address(octets)}.")


def _carried(address: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside an IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    number = int(address)
    for network, shift in _CARRIERS:
        if address in network and number > 1:
            return ipaddress.IPv4Address(number >> shift & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    if number >> 32 & 0xFDFFFFFF == _ISATAP:
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return None


def _named(address: IPAddress, reserved: Mapping[Any, str]) -> str | None:
    return next((reason for network, reason in reserved.items() if address in network), None)
