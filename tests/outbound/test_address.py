"""Which addresses may be spoken to."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.config import load
from opssentinal.errors import ConfigError, Forbidden, InvalidInput
from opssentinal.outbound import InvalidAddress, Refused, check_url
from opssentinal.outbound.address import refusal

PUBLIC = ("1.1.1.1", "93.184.216.34", "99.255.255.255", "172.15.255.255", "172.32.0.0", "223.255.255.255")
PUBLIC6 = ("2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "2620:fe::fe")


@pytest.mark.parametrize("address", [*PUBLIC, *PUBLIC6])
def test_public_addresses_may_be_spoken_to(address: str) -> None:
    """What stands in the public internet is not refused, also right beside a reserved range."""
    assert refusal(ip_address(address)) is None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1",
        "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::127.0.0.1", "::93.184.216.34", "::ffff:127.0.0.1", "::ffff:93.184.216.34",
        "::ffff:0:127.0.0.1", "64:ff9b::a00:1", "64:ff9b::5db8:d822", "64:ff9b:1::1", "64:ff9b:1:ffff::1", "100::1",
        "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1",
        "2002:7f00:1::", "2002:5db8:d822::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
        "fec0::1", "ff02::1", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:10.0.0.1",
    ],
)  # fmt: skip
def test_reserved_addresses_are_refused(address: str) -> None:
    """Every special range of the registries is refused, and every way to put an IPv4 address into an IPv6 one."""
    assert refusal(ip_address(address))


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_is_accepted_is_global_unicast(address: IPv4Address | IPv6Address) -> None:
    """The standard library's own view, incomplete as it is, never is stricter than ours."""
    if refusal(address) is None:
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(
    st.ip_addresses(v=4).filter(refusal),
    st.sampled_from(["::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "2002::", "2606:4700::5efe:0:0"]),
)
def test_a_listed_network_does_not_open_what_its_addresses_carry(inner: IPv4Address, base: str) -> None:
    """An operator whose network is NAT64 lists it; a private IPv4 address behind it stays refused all the same."""
    number = int(ip_address(base)) | int(inner) << (80 if base == "2002::" else 0)
    address = IPv6Address(number)
    network = ip_network("::/0")
    if number > 1:  # these two are addresses of their own
        assert refusal(address, [network])
        assert refusal(address, [network, ip_network(f"{inner}/32")]) is None


def test_listed_networks_are_permitted_and_no_more() -> None:
    """What the operator lists may be spoken to; its neighbour may not."""
    allowed = [ip_network("10.1.0.0/16"), ip_network("fd12::/64")]
    assert refusal(ip_address("10.1.255.255"), allowed) is None
    assert refusal(ip_address("10.2.0.0"), allowed)
    assert refusal(ip_address("fd12::1"), allowed) is None
    assert refusal(ip_address("fd12:0:0:1::1"), allowed)


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "0", "017700000001", "127.0.0.1.", "[fe80::1%25lo]"],
)
def test_numbers_in_disguise_are_refused(host: str, allow: Callable[..., None]) -> None:
    """A host that resolvers would read as an address but people would not is refused, even where its network is listed."""
    allow("0.0.0.0/0", "::/0")
    with pytest.raises(InvalidAddress) as caught:
        check_url(f"https://{host}/")
    assert isinstance(caught.value, InvalidInput)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "//example.com/", "https:///path", "ftp://example.com/", "file:///etc/passwd", "javascript:1",
        "https://user@example.com/", "https://user:secret@example.com/", "https://:secret@example.com/",
        "https://example.com:port/", "https://[::1/", "http://example.com/",
    ],
)  # fmt: skip
def test_urls_that_are_not_called(url: str, allow: Callable[..., None]) -> None:
    """Only https with a host and without credentials; the reason never repeats a password."""
    allow()
    with pytest.raises(InvalidAddress) as caught:
        check_url(url)
    assert "secret" not in str(caught.value) or "secret" not in url.partition("@")[0]


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1", "127.0.0.1 is a loopback address: "),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1 is an IPv4 address mapped into IPv6: "),
        ("[0:0:0:0:0:0:0:1]", "0:0:0:0:0:0:0:1 is a loopback address: "),
    ],
)
def test_an_address_is_told_as_it_was_written(host: str, said: str, allow: Callable[..., None]) -> None:
    """It is what it is; only a name has an address."""
    allow()
    with pytest.raises(Refused) as caught:
        check_url(f"https://{host}/")
    assert str(caught.value).startswith(said)


def test_plain_http_only_to_what_is_listed(allow: Callable[..., None]) -> None:
    """Listing a receiver permits http to it, and to nothing else."""
    allow("10.1.0.0/16")
    check_url("http://10.1.2.3/hook")
    check_url("https://1.1.1.1/hook")
    with pytest.raises(Refused) as caught:
        check_url("http://1.1.1.1/hook")
    assert isinstance(caught.value, Forbidden)
    assert "https" in caught.value.detail
    with pytest.raises(Refused, match="a private address"):
        check_url("https://10.2.0.1/")


@pytest.mark.parametrize("text", ["10.0.0.0/33", "hooks internal", "https://hooks.internal", "10.0.0", "a,,b,-,*"])
def test_a_bad_allow_list_refuses_to_start(text: str, tmp_path: object) -> None:
    """A mistyped entry is told at the start rather than silently matching nothing."""
    with pytest.raises(ConfigError, match="OUTBOUND_ALLOW"):
        load({"OPSSENTINAL_DATA_DIR": str(tmp_path), "OPSSENTINAL_OUTBOUND_ALLOW": text})


def test_the_allow_list_is_read_as_networks_and_names(tmp_path: object) -> None:
    """Networks with host bits, single addresses and names in any case are understood."""
    config = load(
        {"OPSSENTINAL_DATA_DIR": str(tmp_path), "OPSSENTINAL_OUTBOUND_ALLOW": "10.1.2.3/8, ::1,Hooks.Internal. "}
    )
    assert config.outbound_allow == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"), "hooks.internal")
    assert config.shown()["OUTBOUND_ALLOW"] == "10.0.0.0/8,::1/128,hooks.internal"
    assert config.shown()["OUTBOUND_CA_FILE"] == ""
