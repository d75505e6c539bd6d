"""A forgotten password: whoever asks for a link gets the same answer at the same speed, and the account's owner gets mail.

Looking for the account, recording the link and delivering it happen in a thread of its own, after the answer: otherwise the
time it takes would tell who has an account here. What waits is bounded, and is lost when the server stops; people ask again.
"""

from __future__ import annotations

import logging
import threading
from queue import Full, Queue

from django.db import connections

from opssentinal.errors import OpsSentinalError, Overloaded
from opssentinal.events.model import Context
from opssentinal.ledger.recording import recording
from opssentinal.workspace.accounts import issue_link
from opssentinal.workspace.mail import send_mail
from opssentinal.workspace.models import User
from opssentinal.workspace.password_refusal import password_refusal
from opssentinal.workspace.preferences import preferences
from opssentinal.workspace.principals import anonymous_actor

WAITING_MAX = 100
log = logging.getLogger(__name__)

_waiting: Queue[tuple[str, Context]] = Queue(WAITING_MAX)
_starting = threading.Lock()
_workers: list[threading.Thread] = []

TEXT = """\
Somebody, probably you, asked for a new password for {email} in {workspace}.

Set it here, until {until}:

{link}

The link works once. If it was not you, do nothing: your password stays as it is.
"""


def ask_for_link(email: str, context: Context) -> None:
    """Have a link sent if this is the address of an account that may have one. Raises Overloaded where too many wait."""
    try:
        _waiting.put_nowait((email, context))
    except Full as error:
        raise Overloaded("Too many people are asking for a new password just now.", retry_after_s=60) from error
    with _starting:
        if not (_workers and _workers[0].is_alive()):
            _workers[:] = [threading.Thread(target=_work, name="forgotten-passwords", daemon=True)]
            _workers[0].start()


def wait_until_answered() -> None:
    """Return when nothing waits any more."""
    _waiting.join()


def send_link(email: str, context: Context) -> bool:
    """Record user.link_issued and deliver the link, if there is an account whose owner signs in with a password.

    Returns whether it was sent. Nothing is sent that could not be recorded. Raises Unavailable where the mail server does
    not take it; the link was made then, and reaches nobody.
    """
    refusal = password_refusal()
    user = User.objects.filter(email=email.strip().lower()).first()
    if user is None or not (user.can_sign_in and user.has_usable_password()) or refusal(user):
        return False
    with recording() as record:
        link = issue_link(record, user, anonymous_actor(), context, purpose="forgotten", sent_by="email")
    workspace = preferences().workspace_name
    until = f"{user.link_expires_at:%Y-%m-%d %H:%M} UTC"
    text = TEXT.format(email=user.email, workspace=workspace, until=until, link=link)
    send_mail(user.email, f"A new password for {workspace}", text)
    return True


def _work() -> None:
    while True:
        email, context = _waiting.get()
        try:
            send_link(email, context)
        except OpsSentinalError as error:
            log.error("A link for a forgotten password was not delivered: %s", error)
        except Exception:
            # Nobody waits for this any more who could be told, and the next in line must still be served.
            log.exception("A link for a forgotten password was not delivered")
        finally:
            connections.close_all()
            _waiting.task_done()
