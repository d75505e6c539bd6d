"""Who is talking to us, as events tell it: the actor and the context of a request or of a command.

One place, so that every event the product records names people, addresses and sessions in the same way.
"""

from __future__ import annotations

import getpass
import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest

from opssentinal.events.model import Actor, Context, Target
from opssentinal.workspace.proxies import note_header

if TYPE_CHECKING:
    from opssentinal.workspace.models import User

SOURCE = "opssentinal"
_FORWARDED_MAX = 16
_AGENT_MAX = 2048


def user_actor(user: User) -> Actor:
    """The account as an actor: its id, name and e-mail as they are now."""
    return Actor(type="user", id=f"user_{user.pk}", name=user.name or None, email=user.email)


def user_target(user: User) -> Target:
    """The account as a target."""
    return Target(type="user", id=f"user_{user.pk}", name=user.name or None, email=user.email)


def anonymous_actor(email: str | None = None) -> Actor:
    """Somebody who is not signed in; `email` only if it is known to be an address, since people type passwords there."""
    return Actor(type="anonymous", id=email or "anonymous", email=email)


def request_actor(request: HttpRequest) -> Actor:
    """The signed-in account, else somebody anonymous."""
    user = request.user
    return user_actor(user) if user.is_authenticated else anonymous_actor()


def request_context(request: HttpRequest) -> Context:
    """Address, user agent and session of a request, cut to the limits of an event."""
    ip, chain = request_address(request)
    key = request.session.session_key if hasattr(request, "session") else None
    return Context(
        ip=ip, user_agent=user_agent(request), session_id=session_reference(key), forwarded_for=chain or None
    )


def user_agent(request: HttpRequest, chars_max: int = _AGENT_MAX) -> str | None:
    """What the client calls itself, as `agent_named` reads it."""
    return agent_named(str(request.META.get("HTTP_USER_AGENT", "")), chars_max)


def agent_named(header: str, chars_max: int = _AGENT_MAX) -> str | None:
    """The value of User-Agent without NUL, which no store can keep, and cut; None where it says nothing."""
    return header.replace("\x00", "")[:chars_max] or None


def session_reference(session_key: str | None) -> str | None:
    """A stable name for a session that cannot be used to take it over: the start of a keyed hash of its key."""
    if not session_key:
        return None
    from django.utils.crypto import salted_hmac

    return salted_hmac("opssentinal.session", session_key, algorithm="sha256").hexdigest()[:24]


def request_address(request: HttpRequest) -> tuple[str | None, list[str]]:
    """`client_address` of a page's request.

    The standard's own header, `Forwarded` (RFC 7239), is not read: a proxy that writes the one hands on what clients wrote
    into the other, and believing both would let them choose. That it came alone is noted.
    """
    peer, forwarded = request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", "")
    if not forwarded and "HTTP_FORWARDED" in request.META:
        address = _canonical(peer)
        note_header("Forwarded", peer, address is not None and _is_trusted(address))
    return client_address(peer, forwarded)


def client_address(peer: str, forwarded: str) -> tuple[str | None, list[str]]:
    """The client's address and the forwarded chain as received.

    The socket's peer, unless it is a trusted proxy: then the right-most address of `X-Forwarded-For` that is not itself a
    trusted proxy. What a client writes into the header on its own is never believed; that it did is noted (`proxies`).
    """
    chain = [part.strip()[:128] for part in forwarded.split(",") if part.strip()][-_FORWARDED_MAX:]
    address = _canonical(peer)
    if chain and (address is None or not _is_trusted(address)):
        note_header("X-Forwarded-For", peer, False)
    for hop in reversed(chain):
        if address is None or not _is_trusted(address):
            break
        nearer = _canonical(hop)
        if nearer is None:
            break
        address = nearer
    return address, chain


def _canonical(text: str) -> str | None:
    if text.startswith("[") and "]" in text:  # [2001:db8::1]:443
        text = text[1 : text.index("]")]
    elif text.count(":") == 1:  # 203.0.113.9:443
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _is_trusted(address: str) -> bool:
    ip = ip_address(address)
    return any(ip in network for network in settings.CONFIG.trusted_proxies)


def os_actor() -> Actor:
    """The person at the command line: the operating system's user, and the one behind sudo if there is one."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        name = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER")
    host = socket.gethostname()
    return Actor(type="os_user", id=f"{name}@{host}"[:256], name=(f"{behind} (as {name})" if behind else name)[:256])
