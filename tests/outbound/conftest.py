"""Real servers on the loopback address, well behaved and not, and an operator who permits them or does not."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_django import Settings

from opssentinal.config import load

Behaviour = Callable[[socket.socket, bytes], object]


@pytest.fixture
def allow(settings: Settings) -> Callable[..., None]:
    """Set the operator's allow-list, and the authorities."""

    def allow(*entries: str, ca_file: Path | None = None) -> None:
        environment = {"OPSSENTINAL_OUTBOUND_ALLOW": ",".join(entries)}
        if ca_file:
            environment["OPSSENTINAL_OUTBOUND_CA_FILE"] = str(ca_file)
        settings.CONFIG = load({"OPSSENTINAL_DATA_DIR": os.environ["OPSSENTINAL_DATA_DIR"], **environment})

    return allow


@dataclass
class Server:
    """A listening socket and the requests that came in."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)  # those that TLS clients asked for

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers that read a request and then do as they are told; all are gone at the end."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(behaviour: Behaviour, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Server:
        listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        server = Server(listener.getsockname()[1])
        if tls:
            tls.sni_callback = lambda _socket, name, _context: server.names.append(name)
        listeners.append(listener)

        def talk(plain: socket.socket) -> None:
            try:
                with tls.wrap_socket(plain, server_side=True) if tls else plain as connection:
                    request = _read_request(connection)
                    if request:
                        server.requests.append(request)
                        behaviour(connection, request)
            except OSError:
                return  # the client went away, as some tests have it do

        def listen() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                plain.settimeout(20)
                thread = threading.Thread(target=talk, args=(plain,), daemon=True)
                threads.append(thread)
                thread.start()

        threads.append(threading.Thread(target=listen, daemon=True))
        threads[-1].start()
        return server

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(5)


def _read_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        portion = connection.recv(65536)
        if not portion:
            return b""
        request += portion
    head, _, body = request.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(status: str = "200 OK", body: bytes = b"fine", *headers: str) -> Behaviour:
    """Answer in order."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]

    def behave(connection: socket.socket, _: bytes) -> None:
        connection.sendall("\r\n".join(lines).encode() + body)

    return behave


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of hooks.example with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "hooks.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """The server's side of TLS as hooks.example."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[list[str]]], list[str]]:
    """Have the system's resolver give a name other addresses each time; returns the list of names it was asked for."""
    real = socket.getaddrinfo
    asked: list[str] = []

    def install(name: str, answers: list[list[str]]) -> list[str]:
        def resolve(host: str, port: int, *args: int, **options: int) -> list[tuple[object, ...]]:
            asked.append(host)
            if host != name:
                return list(real(host, port, *args, **options))
            addresses = answers.pop(0) if len(answers) > 1 else answers[0]
            found: list[tuple[object, ...]] = []
            for address in addresses:
                family = socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6
                found.append((family, socket.SOCK_STREAM, 6, "", (address, port)))
            return found

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return asked

    return install
