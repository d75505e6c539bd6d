"""E-mail through the server that an admin has entered: one way out for invitations, lost passwords and notices.

Django speaks SMTP; this module gives it the preferences and a deadline, and turns what went wrong into words that an admin
can act on. This is the one connection that does not go through `outbound`: a mail server usually stands inside, at an address
that requests are refused to. Where clouds keep their metadata is refused here too. Delivering takes seconds, so it never happens inside recording(): a mail server that hangs must not hold the log.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from email.utils import parseaddr
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
from django.core.validators import validate_email
from django.db import connection

from opssentinal.errors import InvalidInput, Unavailable
from opssentinal.outbound.address import metadata_refusal, refused
from opssentinal.workspace.preferences import preferences, stored_secret
from opssentinal.workspace.text import printable_line

# For each step of the conversation, not for all of it.
TIMEOUT_S = 10
SUBJECT_MAX = 200
_ANSWER_MAX = 500


def is_configured() -> bool:
    """Whether an admin has entered a mail server and a sender."""
    chosen = preferences()
    return bool(chosen.smtp_host and chosen.smtp_from)


def send_mail(to: str, subject: str, text: str) -> str:
    """Deliver a message of plain text to one address and return the mail server's answer to it.

    On return the server has accepted the message; nothing is queued here and nothing is tried again. Must be called outside
    of any transaction. Raises InvalidInput for an address or subject that cannot stand in a header, and Unavailable with the
    reason (permanent: a second attempt would end the same way).
    """
    if connection.in_atomic_block:
        raise RuntimeError("A mail server is never waited for inside a transaction.")
    try:
        validate_email(to)
    except ValidationError as error:
        raise InvalidInput("This is not an e-mail address.") from error
    if len(subject) > SUBJECT_MAX or any(ord(character) < 32 for character in subject):
        raise InvalidInput("This cannot be the subject of a message.")
    backend = MailServer()
    backend.send_messages([EmailMessage(subject, text, backend.sender, [to])])
    return backend.answer


class MailServer(EmailBackend):
    """Django's SMTP backend with the preferences as they are now; also Django's EMAIL_BACKEND, so that nothing goes around it.

    `answer` is what the server said to the last message. Raises Unavailable, also where Django would raise OSError.
    """

    def __init__(self, fail_silently: bool = False, **_options: Any) -> None:
        chosen = preferences()
        if not (chosen.smtp_host and chosen.smtp_from):
            raise Unavailable(
                "No mail server is set up.", permanent=True, hint="An admin does so in Settings → General."
            )
        super().__init__(
            host=chosen.smtp_host,
            port=chosen.smtp_port,
            username=chosen.smtp_user,
            password=(stored_secret("smtp_password") or "") if chosen.smtp_user else "",
            use_tls=chosen.smtp_security == "starttls",
            use_ssl=chosen.smtp_security == "tls",
            timeout=TIMEOUT_S,
        )
        self.sender = chosen.smtp_from
        self.answer = ""

    @property
    def connection_class(self) -> Any:
        """Django's connection, which besides goes to checked addresses and keeps what the server answered to the message."""
        backend = self

        class Listening(super().connection_class):  # type: ignore[misc]  # chosen by Django at run time
            def connect(self, host: str, port: int, source_address: Any = None) -> tuple[int, bytes]:
                """Each address of the host in turn, resolved once; TLS goes by the name, which smtplib has kept."""
                failure: OSError = OSError(f"{host} has no address")
                for address in _addresses(host, port):
                    try:
                        return super().connect(address, port, source_address)
                    except OSError as error:
                        failure = error
                raise failure

            def data(self, message: Any) -> tuple[int, bytes]:
                code, text = super().data(message)
                backend.answer = _answer(code, text)
                return code, text

        return Listening

    def send_messages(self, email_messages: Any) -> int:
        """Deliver; raises Unavailable with the reason. The connection is closed in any case."""
        try:
            return int(super().send_messages(email_messages) or 0)
        except (OSError, ValueError) as error:  # all of smtplib's and ssl's errors are OSErrors
            raise _unavailable(error, f"{self.host}:{self.port}") from error
        finally:
            self.close()


def _addresses(host: str, port: int) -> list[str]:
    """The addresses of a mail server. Raises Unavailable where one of them is not a mail server's; OSError."""
    places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in places))
    for address in addresses:
        found = ip_address(address.partition("%")[0])
        reason = metadata_refusal(found, settings.CONFIG.outbound_allow)
        if reason is not None:
            raise Unavailable(f"{refused(host, found, reason)}: no mail goes there.", permanent=True)
    return addresses


def is_sender(text: str) -> bool:
    """Whether a text can stand as the sender of messages: an address, or a name and an address in angle brackets."""
    name, address = parseaddr(text)
    if any(ord(character) < 32 for character in text) or not (
        text == address or (name and text.endswith(f"<{address}>"))
    ):
        return False
    try:
        validate_email(address)
    except ValidationError:
        return False
    return True


def _unavailable(error: Exception, server: str) -> Unavailable:
    """The reason in words, with the server's own answer where it gave one."""
    match error:
        case smtplib.SMTPResponseException() if not _is_reply(error.smtp_code):
            return Unavailable(f"{server} does not speak SMTP.", permanent=True)
        case smtplib.SMTPAuthenticationError():
            reason, permanent = f"{server} refused the user name or password", True
        case smtplib.SMTPRecipientsRefused():
            code, text = next(iter(error.recipients.values()))
            return Unavailable(f"{server} refused the recipient: {_answer(code, text)}", permanent=code >= 500)
        case smtplib.SMTPResponseException():  # the sender, the message or the greeting was refused
            reason, permanent = f"{server} refused the message", error.smtp_code >= 500
        case smtplib.SMTPNotSupportedError():
            reason, permanent = f"{server} does not offer what is asked of it: {error}", True
        case ssl.SSLCertVerificationError():
            reason, permanent = f"The certificate of {server} is not trusted: {error.verify_message}", True
        case ssl.SSLError():
            reason, permanent = f"{server} does not speak TLS here: {error.reason or error}", True
        case socket.gaierror():
            reason, permanent = f"The name of the mail server {server} cannot be found", False
        # smtplib turns a reply that does not come in time into a connection that was closed.
        case TimeoutError() | smtplib.SMTPServerDisconnected(__context__=TimeoutError()):
            reason, permanent = f"{server} did not answer within {TIMEOUT_S} seconds", False
        case OSError():
            reason, permanent = f"{server} cannot be reached: {error.strerror or error}", False
        case _:  # ValueError: what Django refuses to put into a header
            reason, permanent = f"The message cannot be sent: {error}", True
    if isinstance(error, smtplib.SMTPResponseException):
        reason += f": {_answer(error.smtp_code, error.smtp_error)}"
    return Unavailable(f"{reason.rstrip('.')}."[:_ANSWER_MAX], permanent=permanent)


def _answer(code: int, text: bytes | str) -> str:
    """What the server said, on one line and cut: whoever answers on that port may say anything.

    Only of a reply of SMTP: else the page would be a way to read what other servers inside greet with.
    """
    if not _is_reply(code):
        return "an answer that is not SMTP"
    said = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"{code} {printable_line(said)}"[:_ANSWER_MAX]


def _is_reply(code: int) -> bool:
    """Whether this is a code of SMTP (RFC 5321, Section 4.2). For any other line smtplib gives -1, with the line as text."""
    return 200 <= code < 600
