"""E-mail against a real SMTP server: what arrives, and what is said when nothing does."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.mail import get_connection
from django.core.mail import send_mail as django_send_mail
from pytest_django import Settings

from opssentinal.config import load
from opssentinal.errors import InvalidInput, Unavailable
from opssentinal.ledger.recording import recording
from opssentinal.workspace import mail
from opssentinal.workspace.mail import is_configured, is_sender, send_mail
from tests.workspace.postbox import SENDER, Postbox, certificate, checks, serving, silent, use


def test_message_arrives() -> None:
    """A message arrives whole, from the chosen sender, and the server's answer to it is returned."""
    postbox = Postbox()
    with serving(postbox) as port:
        use(port)
        answer = send_mail("bob@example.com", "Grüße", "Line one\nLine two: ä\n")
    (message,) = postbox.messages
    assert (message["subject"], message["from"], message["to"]) == ("Grüße", SENDER, "bob@example.com")
    assert message.get_content().splitlines() == ["Line one", "Line two: ä"]
    assert postbox.recipients == [["bob@example.com"]]
    assert answer == "250 Kept as number 1"


def test_not_configured() -> None:
    """Without a host and a sender there is no mail, and sending says so at once."""
    assert not is_configured()
    with pytest.raises(Unavailable, match="No mail server is set up") as refused:
        send_mail("bob@example.com", "Hello", "text")
    assert refused.value.permanent
    use(25)
    assert is_configured()


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # aiosmtpd, of the server under test
def test_password_is_used() -> None:
    """With a user the stored password signs in; a wrong one is told as such, with the server's answer, and for good."""
    postbox = Postbox()
    options = {"authenticator": checks("audit", "s3cret"), "auth_require_tls": False, "auth_required": True}
    with serving(postbox, **options) as port:
        use(port, smtp_user="audit", password="wrong")
        with pytest.raises(Unavailable, match="refused the user name or password: 535") as refused:
            send_mail("bob@example.com", "Hello", "text")
        assert refused.value.permanent
        assert "wrong" not in str(refused.value)
        use(port, smtp_user="audit", password="s3cret")
        send_mail("bob@example.com", "Hello", "text")
    assert len(postbox.messages) == 1


def test_starttls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """STARTTLS encrypts with a certificate that is trusted; an untrusted one ends it before anything is said."""
    context, chain = certificate(tmp_path)
    postbox = Postbox()
    with serving(postbox, tls_context=context, require_starttls=True) as port:
        use(port, host="localhost", smtp_security="starttls")
        with pytest.raises(Unavailable, match="is not trusted"):
            send_mail("bob@example.com", "Hello", "text")
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        send_mail("bob@example.com", "Hello", "text")
    assert postbox.encrypted == [True]


def test_starttls_not_offered() -> None:
    """Where STARTTLS is asked for and not offered, nothing is sent in the clear."""
    postbox = Postbox()
    with serving(postbox) as port:
        use(port, smtp_security="starttls")
        with pytest.raises(Unavailable, match="STARTTLS"):
            send_mail("bob@example.com", "Hello", "text")
    assert postbox.messages == []


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS from the first byte; a server that speaks none is told as such."""
    context, chain = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    postbox = Postbox()
    with serving(postbox) as port:
        use(port, host="localhost", smtp_security="tls")
        with pytest.raises(Unavailable, match="does not speak TLS"):
            send_mail("bob@example.com", "Hello", "text")
    with serving(postbox, ssl_context=context) as port:
        use(port, host="localhost", smtp_security="tls")
        send_mail("bob@example.com", "Hello", "text")
    assert postbox.encrypted == [True]


@pytest.mark.parametrize(
    ("command", "answer", "permanent"),
    [("RCPT", "550 No such mailbox", True), ("RCPT", "451 Try later", False), ("DATA", "554 Looks like spam", True)],
)
def test_refusals_are_told(command: str, answer: str, permanent: bool) -> None:
    """What the server answers when it refuses is what the admin reads; 4xx may pass, 5xx will not."""
    postbox = Postbox()
    postbox.refuse[command] = answer
    with serving(postbox) as port:
        use(port)
        with pytest.raises(Unavailable, match=answer) as refused:
            send_mail("bob@example.com", "Hello", "text")
    assert refused.value.permanent is permanent


def test_server_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts the connection and says nothing costs the deadline and no more."""
    monkeypatch.setattr(mail, "TIMEOUT_S", 0.2)
    with silent() as port:
        use(port)
        with pytest.raises(Unavailable, match="did not answer within 0.2 seconds") as late:
            send_mail("bob@example.com", "Hello", "text")
    assert not late.value.permanent


def test_nobody_listens() -> None:
    """A port on which nobody listens is told as such."""
    with silent() as port:
        pass
    use(port)
    with pytest.raises(Unavailable, match="refused") as refused:
        send_mail("bob@example.com", "Hello", "text")
    assert not refused.value.permanent


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("bob@example.com\r\nBcc: eve@example.com", "Hello"),
        ("bob@example.com, eve@example.com", "Hello"),
        ("bob@example.com", "Hello\r\nBcc: eve@example.com"),
        ("bob@example.com", "Hello\nX-Other: 1"),
        ("", "Hello"),
        ("bob@example.com", "x" * 201),
    ],
)
def test_headers_cannot_be_injected(to: str, subject: str) -> None:
    """An address or subject that would write further headers is refused before the server hears of it."""
    postbox = Postbox()
    with serving(postbox) as port:
        use(port)
        with pytest.raises(InvalidInput):
            send_mail(to, subject, "text")
    assert postbox.recipients == []


def test_never_inside_a_transaction() -> None:
    """Nobody holds the log while a mail server thinks: it is refused as the fault of ours it would be."""
    use(25)
    with pytest.raises(RuntimeError, match="transaction"), recording():
        send_mail("bob@example.com", "Hello", "text")


def test_django_sends_the_same_way(settings: Settings) -> None:
    """Whatever sends through Django's own functions reaches the same server, in its way and with its errors."""
    settings.EMAIL_BACKEND = "opssentinal.workspace.mail.MailServer"
    postbox = Postbox()
    with serving(postbox) as port:
        use(port)
        assert django_send_mail("Hello", "text", SENDER, ["bob@example.com"]) == 1
    assert isinstance(get_connection(), mail.MailServer)
    assert len(postbox.messages) == 1
    with pytest.raises(Unavailable):
        django_send_mail("Hello", "text", SENDER, ["bob@example.com"])


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("audit@example.com", True),
        ("Ops Sentinal <audit@example.com>", True),
        ("audit", False),
        ("audit@example.com, eve@example.com", False),
        ("A <audit@example.com>\r\nBcc: eve@example.com", False),
        ("A <audit@example.com> <eve@example.com>", False),
        ("", False),
    ],
)
def test_sender(text: str, good: bool) -> None:
    """A sender is one address, with a name or without."""
    assert is_sender(text) is good


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "168.63.129.16", "100.100.100.200"],
)
def test_where_clouds_keep_their_metadata_is_no_mail_server(host: str) -> None:
    """Refused before anything is sent there, by each spelling and in it; servers inside are not."""
    use(25, host=host)
    with pytest.raises(Unavailable, match=f"^{host} is an? .*: no mail goes there") as refused:
        send_mail("bob@example.com", "Hello", "text")
    assert refused.value.permanent


def test_the_operator_can_permit_such_an_address(settings: Settings) -> None:
    """As with requests: then it is tried, and what comes of it is said."""
    environment = {"OPSSENTINAL_DATA_DIR": os.environ["OPSSENTINAL_DATA_DIR"]}
    settings.CONFIG = load(environment | {"OPSSENTINAL_OUTBOUND_ALLOW": "169.254.169.254/32"})
    assert mail._addresses("169.254.169.254", 25) == ["169.254.169.254"]


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.2p1 secret\r\n", b"HTTP/1.1 400 secret\r\n\r\n", b"-ERR secret\r\n"]
)
def test_what_other_servers_say_is_not_shown(said: bytes) -> None:
    """The page is no way to read what else listens inside."""
    with greeting(said) as port:
        use(port)
        with pytest.raises(Unavailable, match="does not speak SMTP") as refused:
            send_mail("bob@example.com", "Hello", "text")
    assert "secret" not in str(refused.value)


def test_what_a_mail_server_says_is_one_printable_line() -> None:
    """A reply may hold anything; what moves the cursor or turns the text around is left out."""
    with greeting("554 Go \x1b[2Jaway\u202e now\r\n".encode()) as port:
        use(port)
        with pytest.raises(Unavailable, match="554 Go \\[2Jaway now") as refused:
            send_mail("bob@example.com", "Hello", "text")
    assert str(refused.value).isprintable()


@contextlib.contextmanager
def greeting(said: bytes) -> Iterator[int]:
    """A port where every connection is greeted so and closed."""

    class Greeter(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(said)
            self.request.shutdown(socket.SHUT_WR)
            while self.request.recv(1024):
                pass

    with socketserver.TCPServer(("127.0.0.1", 0), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
