"""Requests to real sockets: what arrives, what is refused, and that everything ends."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from opssentinal import outbound
from opssentinal.errors import Unavailable
from opssentinal.outbound import InvalidAddress, Refused
from tests.outbound.conftest import Behaviour, Server, answer
from tests.server import free_port

Serve = Callable[..., Server]
Allow = Callable[..., None]
Resolver = Callable[[str, list[list[str]]], list[str]]


def test_a_request_arrives_and_its_answer_returns(serve: Serve, allow: Allow) -> None:
    """Method, path, headers and body go out as they are; status, headers, body and latency come back."""
    allow("127.0.0.0/8")
    server = serve(answer("201 Created", b"thanks", "X-Kind: test"))
    got = outbound.send("POST", f"{server.url}hook?a=b", headers={"X-Signed": "yes"}, body=b'{"a":1}')
    assert (got.status, got.body, got.headers["x-kind"], got.is_success) == (201, b"thanks", "test", True)
    assert 0 <= got.latency_ms < 10_000
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?a=b HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}" in lines
    assert "X-Signed: yes" in lines
    assert body == b'{"a":1}'


def test_loopback_is_refused_by_default(serve: Serve, allow: Allow) -> None:
    """Nothing arrives at a server of this host, by address or by name, unless the operator lists it."""
    allow("192.0.2.0/24")  # so that plain http is not what refuses it
    server = serve(answer())
    for url in (server.url, f"http://localhost:{server.port}/", f"https://localhost:{server.port}/"):
        with pytest.raises(Refused, match="a loopback address"):
            outbound.send("GET", url)
    assert server.requests == []


def test_a_listed_name_may_be_spoken_to(serve: Serve, allow: Allow) -> None:
    """A host can be listed by name, whatever its address; its address alone is not permitted by that."""
    allow("localhost")
    server = serve(answer())
    assert outbound.send("GET", f"http://LOCALHOST:{server.port}/").status == 200
    with pytest.raises(Refused):
        outbound.send("GET", server.url)


def test_a_name_is_resolved_once(serve: Serve, allow: Allow, resolver: Resolver) -> None:
    """A resolver that answers with a listed address first and another one later (DNS rebinding) is asked only once."""
    allow("127.0.0.1")
    server = serve(answer())
    asked = resolver("hooks.example", [["127.0.0.1"], ["127.0.0.2"]])
    assert outbound.send("GET", f"http://hooks.example:{server.port}/").status == 200
    assert asked.count("hooks.example") == 1
    assert f"Host: hooks.example:{server.port}".encode() in server.requests[0]


def test_a_name_that_changes_its_address_is_refused_then(serve: Serve, allow: Allow, resolver: Resolver) -> None:
    """Each request checks anew: what was accepted a moment ago gives no right to the address of now."""
    allow("127.0.0.1")
    server = serve(answer())
    resolver("hooks.example", [["127.0.0.1"], ["127.0.0.2"]])
    with outbound.session() as session:
        assert session.get(f"http://hooks.example:{server.port}/").status_code == 200
        with pytest.raises(Refused, match="127.0.0.2"):
            session.get(f"http://hooks.example:{server.port}/")
    assert len(server.requests) == 1


def test_one_bad_address_among_good_ones_refuses_the_name(serve: Serve, allow: Allow, resolver: Resolver) -> None:
    """All addresses of a name are checked, not only the one that would be used."""
    allow("127.0.0.1")
    server = serve(answer())
    for addresses in (
        ["127.0.0.1", "10.0.0.1"],
        ["fd00:ec2::254", "127.0.0.1"],
        ["127.0.0.1", "::ffff:169.254.169.254"],
    ):
        resolver("hooks.example", [addresses])
        with pytest.raises(Refused):
            outbound.send("GET", f"http://hooks.example:{server.port}/")
    assert server.requests == []


def test_the_next_address_is_tried(serve: Serve, allow: Allow, resolver: Resolver) -> None:
    """Where a name has several good addresses and the first does not answer, the second one gets the request."""
    allow("127.0.0.0/8")
    server = serve(answer(), host="127.0.0.2")
    resolver("hooks.example", [["127.0.0.3", "127.0.0.2"]])
    assert outbound.send("GET", f"http://hooks.example:{server.port}/").status == 200


def test_the_peer_is_checked_after_connecting(serve: Serve, allow: Allow) -> None:
    """0.0.0.0 leads to 127.0.0.1: whoever lists the one has not listed the other."""
    allow("0.0.0.0")
    server = serve(answer())
    with pytest.raises(Unavailable, match="another address"):
        outbound.send("GET", f"http://0.0.0.0:{server.port}/")
    assert server.requests == []


def test_redirects_are_answers(serve: Serve, allow: Allow) -> None:
    """A redirect is not followed, and is no success."""
    allow("127.0.0.1")
    target = serve(answer())
    server = serve(answer("302 Found", b"", f"Location: {target.url}"))
    got = outbound.send("GET", server.url)
    assert (got.status, got.is_success) == (302, False)
    with outbound.session() as session:
        response = session.get(server.url, allow_redirects=True)
        assert (response.status_code, response.history) == (302, [])
    assert target.requests == []


def test_proxies_and_passwords_of_the_environment_are_not_used(
    serve: Serve, allow: Allow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """HTTP_PROXY would decide where requests go, .netrc would put a password into them."""
    allow("127.0.0.1")
    proxy, server = serve(answer("200 OK", b"proxy")), serve(answer("200 OK", b"server"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login alice password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert outbound.send("GET", server.url).body == b"server"
    assert b"Authorization" not in server.requests[0]
    with outbound.session() as session:
        assert session.get(server.url, proxies={"http": proxy.url}).content == b"server"
    assert proxy.requests == []


def test_tls_is_checked_by_name(
    serve: Serve, allow: Allow, resolver: Resolver, tls: ssl.SSLContext, certificate: Path
) -> None:
    """Connected by address, the certificate is still asked for and checked by the host's name, with the operator's authority."""
    server = serve(answer(), tls)
    resolver("hooks.example", [["127.0.0.1"]])
    allow("127.0.0.1", ca_file=certificate)
    assert outbound.send("GET", f"https://hooks.example:{server.port}/").status == 200
    assert server.names == ["hooks.example"]
    resolver("other.example", [["127.0.0.1"]])
    with pytest.raises(Unavailable, match="certificate"):
        outbound.send("GET", f"https://other.example:{server.port}/")


def test_an_unknown_authority_is_not_believed(
    serve: Serve, allow: Allow, resolver: Resolver, tls: ssl.SSLContext
) -> None:
    """A self-signed certificate is refused, also where a caller says not to verify."""
    server = serve(answer(), tls)
    resolver("hooks.example", [["127.0.0.1"]])
    allow("127.0.0.1")
    url = f"https://hooks.example:{server.port}/"
    with pytest.raises(Unavailable, match="certificate"):
        outbound.send("GET", url)
    with outbound.session() as session, pytest.raises(requests.exceptions.SSLError):
        session.get(url, verify=False)
    assert server.requests == []


def _trickle(beginning: bytes) -> Behaviour:
    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall(beginning)
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)  # what it is about: a byte now and then, for ever

    return behave


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
    ],
)
def test_a_trickling_server_ends(serve: Serve, allow: Allow, beginning: bytes) -> None:
    """A server that keeps sending a byte now and then, in the status, a header or the body, is cut off at the deadline."""
    allow("127.0.0.1")
    server = serve(_trickle(beginning))
    begun = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        outbound.send("GET", server.url, timeout_s=0.5)
    assert caught.value.code == "outbound_timeout"
    assert time.monotonic() - begun < 5


def test_a_hanging_server_ends(serve: Serve, allow: Allow, tls: ssl.SSLContext) -> None:
    """A server that accepts and says nothing, before or after the request, ends at the deadline."""
    allow("127.0.0.1")
    released = threading.Event()
    server = serve(lambda *_: released.wait(10))
    try:
        for url in (server.url, server.url.replace("http:", "https:")):
            with pytest.raises(Unavailable) as caught:
                outbound.send("GET", url, timeout_s=0.5)
            assert caught.value.code in ("outbound_timeout", "outbound_failed")
    finally:
        released.set()


def test_a_hanging_resolver_ends(allow: Allow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver knows no timeout; we do."""
    allow()
    released = threading.Event()

    def resolve(*_: object, **__: object) -> list[object]:
        released.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Unavailable, match="not resolved") as caught:
        outbound.send("GET", "https://hooks.example/", timeout_s=0.3)
    released.set()
    assert caught.value.code == "outbound_timeout"


def test_a_slow_resolver_uses_up_the_same_time(
    serve: Serve, allow: Allow, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One deadline stands over resolving, connecting and reading: they do not each have the whole of it."""
    allow("127.0.0.1")
    server = serve(_trickle(b"HTTP/1.1 200 OK\r\n\r\n"))
    resolver("hooks.example", [["127.0.0.1"]])
    quick = socket.getaddrinfo

    def slow(*args: object, **options: object) -> object:
        threading.Event().wait(2)
        return quick(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="no whole answer"):
        outbound.send("GET", f"http://hooks.example:{server.port}/", timeout_s=3)
    assert time.monotonic() - begun < 4.5


def test_a_large_answer_is_cut(serve: Serve, allow: Allow) -> None:
    """No more of a body is kept than asked for, and an endless one is not read to its end; a session calls it an error."""
    allow("127.0.0.1")

    def flood(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"y" * 65536)

    server = serve(flood)
    assert outbound.send("GET", server.url, bytes_max=1000).body == b"y" * 1000
    with outbound.session(body_bytes_max=1000) as session, pytest.raises(requests.RequestException, match="1000 bytes"):
        session.get(server.url)


def test_a_body_may_be_as_large_as_the_limit(serve: Serve, allow: Allow) -> None:
    """The limit itself is within it."""
    allow("127.0.0.1")
    server = serve(answer("200 OK", b"z" * 1000))
    with outbound.session(body_bytes_max=1000) as session:
        assert session.get(server.url).content == b"z" * 1000


def test_what_unpacks_to_more_is_cut_too(serve: Serve, allow: Allow) -> None:
    """A megabyte of zeros in a kilobyte of gzip counts as what it unpacks to."""
    allow("127.0.0.1")
    server = serve(answer("200 OK", gzip.compress(b"\0" * (8 << 20)), "Content-Encoding: gzip"))
    assert outbound.send("GET", server.url, bytes_max=5000).body == b"\0" * 5000
    assert b"Accept-Encoding: identity" in server.requests[0]


@pytest.mark.parametrize("said", [b"", b"not http\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
def test_broken_answers_are_failures(serve: Serve, allow: Allow, said: bytes) -> None:
    """An answer that is not HTTP or not whole never counts as one."""
    allow("127.0.0.1")
    server = serve(lambda connection, _: connection.sendall(said))
    with pytest.raises(Unavailable) as caught:
        outbound.send("GET", server.url)
    assert caught.value.code == "outbound_failed"
    assert "object at 0x" not in caught.value.detail


def test_nobody_listens(allow: Allow) -> None:
    """A refused connection is a failure whose reason is in words."""
    allow("127.0.0.1")
    with pytest.raises(Unavailable, match="Connection refused") as caught:
        outbound.send("GET", f"http://127.0.0.1:{free_port()}/")
    assert not caught.value.permanent


def test_names_that_do_not_exist(allow: Allow) -> None:
    """A name that cannot be resolved is a failure of the network: it may come back."""
    allow()
    with pytest.raises(Unavailable, match="cannot be resolved"):
        outbound.send("GET", f"https://{'x' * 70}.invalid/")


@pytest.mark.parametrize(
    "url", ["https://user:secret@127.0.0.1/", "https://0x7f.1/", "nonsense", "https://a b/", "https:///"]
)
def test_bad_urls_are_refused_by_the_session_too(allow: Allow, url: str) -> None:
    """The checks stand in the session itself; libraries that speak requests see one of its exceptions."""
    allow("127.0.0.0/8")
    with pytest.raises(InvalidAddress):
        outbound.send("GET", url)
    with outbound.session() as session, pytest.raises(requests.RequestException):
        session.get(url)


def test_refusals_are_exceptions_of_requests(allow: Allow) -> None:
    """allauth and others catch RequestException and end in order."""
    allow()
    with outbound.session() as session, pytest.raises(requests.RequestException, match="metadata"):
        session.get("https://169.254.169.254/latest/meta-data/")


def test_requests_in_parallel_do_not_meet(serve: Serve, allow: Allow) -> None:
    """Each thread has a way of its own: a slow request neither delays nor ends another one."""
    allow("127.0.0.1")
    released = threading.Event()

    def linger(connection: socket.socket, request: bytes) -> None:
        released.wait(10)
        answer("200 OK", b"slow")(connection, request)

    slow = serve(linger)
    quick = serve(answer("200 OK", b"quick"))
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(outbound.send("GET", slow.url, timeout_s=20).body))
    thread.start()
    assert outbound.send("GET", quick.url).body == b"quick"
    released.set()
    thread.join(10)
    assert got == [b"slow"]
