"""Where a request came from, behind proxies and in spite of forged headers."""

from __future__ import annotations

from ipaddress import ip_network
from types import SimpleNamespace

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from opssentinal.config import load
from opssentinal.workspace import proxies
from opssentinal.workspace.principals import client_address, request_address, session_reference


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address"),
    [
        # Nobody is trusted: the header counts for nothing.
        ("", "203.0.113.9", "", "203.0.113.9"),
        ("", "203.0.113.9", "1.2.3.4", "203.0.113.9"),
        ("", "127.0.0.1", "1.2.3.4", "127.0.0.1"),
        # One trusted proxy: its own addition, the right-most, counts; what the client sent before it does not.
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "10.9.9.9, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.0/8", "203.0.113.9", "1.2.3.4", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "", "10.0.0.1"),
        # Two trusted proxies; and a chain of nothing but proxies ends at the farthest.
        ("10.0.0.0/8", "10.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.0/8", "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        # What is no address ends the walk at the last thing known for sure.
        ("10.0.0.0/8", "10.0.0.1", "1.2.3.4, unknown", "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", "1.2.3.4, <script>, 10.0.0.2", "10.0.0.2"),
        # IPv6, mapped IPv4, ports.
        ("2001:db8::/32", "2001:db8::1", "2001:DB9:0::0005", "2001:db9::5"),
        ("::1/128", "::1", "[2001:db9::5]:443", "2001:db9::5"),
        ("::1/128", "::1", "203.0.113.9:5123", "203.0.113.9"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("", "", "1.2.3.4", None),
    ],
)
def test_the_address_is_the_nearest_one_nobody_untrusted_could_write(
    settings: Settings, trusted: str, peer: str, forwarded: str, address: str | None
) -> None:
    """The socket's peer, or the right-most forwarded address that is not a trusted proxy."""
    settings.CONFIG = SimpleNamespace(trusted_proxies=tuple(ip_network(n) for n in trusted.split(",") if n))
    assert client_address(peer, forwarded)[0] == address


@pytest.mark.parametrize(
    ("trusted", "peer", "headers", "noted"),
    [
        ("", "198.51.100.7", {}, None),
        ("", "198.51.100.7", {"x-forwarded-for": "192.0.2.1"}, ("X-Forwarded-For", "198.51.100.7", False)),
        ("", "198.51.100.7", {"forwarded": "for=192.0.2.1"}, ("Forwarded", "198.51.100.7", False)),
        ("", "", {"x-forwarded-for": "192.0.2.1"}, ("X-Forwarded-For", "an unknown address", False)),
        ("10.0.0.0/8", "10.0.0.1", {"x-forwarded-for": "192.0.2.1"}, None),
        ("10.0.0.0/8", "10.0.0.1", {"x-forwarded-for": "192.0.2.1", "forwarded": "for=192.0.2.9"}, None),
        ("10.0.0.0/8", "10.0.0.1", {"forwarded": "for=192.0.2.1"}, ("Forwarded", "10.0.0.1", True)),
        ("10.0.0.0/8", "192.0.2.8", {"x-forwarded-for": "192.0.2.1"}, ("X-Forwarded-For", "192.0.2.8", False)),
    ],
)
def test_a_header_that_is_not_believed_is_noted(
    settings: Settings, trusted: str, peer: str, headers: dict[str, str], noted: tuple[str, str, bool] | None
) -> None:
    """From whom it came last, for the warning to admins; `Forwarded` changes no address, whoever sends it."""
    settings.CONFIG = SimpleNamespace(trusted_proxies=tuple(ip_network(n) for n in trusted.split(",") if n))
    proxies.forget()
    address, _ = request_address(RequestFactory(headers=headers, REMOTE_ADDR=peer).get("/"))
    sighting = proxies.last_sighting()
    assert (sighting and sighting[:3]) == noted
    if "x-forwarded-for" not in headers:
        assert address == peer
    proxies.forget()


def test_the_chain_is_kept_as_received_within_bounds() -> None:
    """At most the last 16 hops of at most 128 characters each."""
    _, chain = client_address("203.0.113.9", ", ".join(["x" * 500, *(f"192.0.2.{n}" for n in range(20))]))
    assert chain == [f"192.0.2.{n}" for n in range(4, 20)]
    assert client_address("203.0.113.9", "y" * 500)[1] == ["y" * 128]


def test_a_sessions_name_does_not_open_it() -> None:
    """The same key has the same name, another key another, and the key cannot be read off it."""
    name = session_reference("k" * 32)
    assert name == session_reference("k" * 32) != session_reference("l" * 32)
    assert name is not None
    assert "kkk" not in name
    assert session_reference(None) is None


def test_a_proxy_may_be_listed_in_either_spelling() -> None:
    """An IPv4 network written as one of IPv6 holds the same proxies."""
    listed = load(
        {"OPSSENTINAL_TRUSTED_PROXIES": "::ffff:10.0.0.0/104, ::ffff:192.0.2.1, 2001:db8::/32"}
    ).trusted_proxies
    assert [str(network) for network in listed] == ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]
