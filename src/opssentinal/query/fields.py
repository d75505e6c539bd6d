"""The vocabulary of filters: every field, what it matches, and how its values are written.

One table serves the query bar, the address of a page, the API, the command line and the guide (a test compares the
guide with it). A value is brought into one canonical form here, so that equal filters are equal bytes everywhere.
"""

from __future__ import annotations

import difflib
import ipaddress
import unicodedata
import uuid
from collections.abc import Iterable
from typing import Final

import msgspec

from opssentinal.errors import InvalidQuery
from opssentinal.query import pattern

VALUE_CHARS_MAX: Final = 512

OUTCOMES: Final = ("success", "failure", "denied", "unknown")
# The catalogue of event types says which actions are in each and which are sensitive; a store is given both.
CATEGORIES: Final = ("authentication", "user_management", "configuration", "data_access")
MARKS: Final = ("sensitive",)


class Field(msgspec.Struct, frozen=True):
    """One field. `matches` is its sentence in the guide, `example` a value of it.

    `folds_case`: a store compares lower case with lower case (SQL's `lower()`), otherwise exactly.
    `lower_case`: stored values are lower case, so a value is brought to it here and compared exactly.
    `wildcards`: `*` in a value is a wildcard. `choices`: the only values there are, if not empty.
    """

    name: str
    matches: str
    example: str
    folds_case: bool = False
    lower_case: bool = False
    wildcards: bool = True
    choices: tuple[str, ...] = ()


# The order is that of chips and of the printed query. `tenant` never folds case: "Acme" and "acme" are two tenants,
# and a key bound to one must not read the other.
FIELDS: Final[dict[str, Field]] = {
    field.name: field
    for field in (
        Field("actor", "who did it: the actor's id, e-mail or name", "alice@example.com", folds_case=True),
        Field("actor_type", "the kind of actor", "user", folds_case=True),
        Field("action", "what was done", "user.*", lower_case=True),
        Field("category", "the group the event type belongs to", "data_access", wildcards=False, choices=CATEGORIES),
        Field("is", "a mark of the event type", "sensitive", wildcards=False, choices=MARKS),
        Field("outcome", "how it ended", "denied", wildcards=False, choices=OUTCOMES),
        Field("target", "to what: the id, e-mail or name of any target", "incident_42", folds_case=True),
        Field("target_type", "the kind of any target", "incident", folds_case=True),
        Field("ip", "from where: an address or a network", "10.0.0.0/8", wildcards=False),
        Field("ua", "the user agent", "*Firefox*", folds_case=True),
        Field("session", "the session", "sess_81f2"),
        Field("request", "the request", "req_5521"),
        Field("source", "the program that sent the event", "billing", lower_case=True),
        Field("tenant", "the organisation the event belongs to", "acme"),
        Field("id", "the event's own id", "0193a4c2-7d1e-7c3a-9b52-6f1f2f0c9d11", wildcards=False),
    )
}

# What people type when they come from another product: never accepted, only answered with the word to use.
_OTHER_WORDS: Final = {
    "user": "actor", "email": "actor", "username": "actor", "author": "actor", "who": "actor", "name": "actor",
    "event": "action", "type": "action", "event_type": "action", "operation": "action",
    "resource": "target", "object": "target", "entity": "target",
    "status": "outcome", "result": "outcome", "user_agent": "ua", "useragent": "ua", "agent": "ua",
    "address": "ip", "source_ip": "ip", "service": "source", "org": "tenant", "organization": "tenant",
    "account": "tenant", "session_id": "session", "request_id": "request", "group": "category",
    "from": "after", "since": "after", "to": "before", "until": "before", "created": "on", "date": "on",
}  # fmt: skip


def unknown_key(name: str, known: Iterable[str]) -> InvalidQuery:
    """Build the error for a key that is none, naming the nearest one and all there are."""
    names = list(known)
    other = _OTHER_WORDS.get(name)
    near = [other] if other in names else difflib.get_close_matches(name, names, n=1)
    suggestion = f"Did you mean {near[0]}? " if near else ""
    return InvalidQuery(f"There is no key “{shown(name)}”.", hint=f"{suggestion}The keys are {', '.join(names)}.")


def field_named(name: str) -> Field:
    """Return the field of this name or raise InvalidQuery."""
    if (field := FIELDS.get(name)) is None:
        raise unknown_key(name, FIELDS)
    return field


def canonical(field_name: str, value: str) -> str:
    """Check one value of a field and return its one canonical form; InvalidQuery says what is wrong with it."""
    field = field_named(field_name)
    if field.lower_case:
        value = value.lower()
    check_characters(value, field_name)
    if field.choices:
        return _choice(field, value)
    if field_name == "ip":
        return _network(value)
    if field_name == "id":
        return _event_id(value)
    return pattern.joined(pattern.pieces(value))


def canonical_text(value: str) -> str:
    """Check a free text and return its canonical form: stars at its ends say nothing, for it is found anywhere."""
    check_characters(value, "free text")
    parts = list(pattern.pieces(value))
    while len(parts) > 1 and not parts[0]:
        del parts[0]
    while len(parts) > 1 and not parts[-1]:
        del parts[-1]
    if not any(parts):
        raise InvalidQuery(
            "A free text of nothing but * matches every event.",
            hint='Leave it out, or write "\\*" to search for the character *.',
        )
    return pattern.joined(tuple(parts))


def from_event(field_name: str, text: str) -> str:
    """Return the value that matches text as it stands in an event, whatever is in it.

    What no value may hold becomes `*`: control characters, and the rest of a text that is too long.
    """
    if not field_named(field_name).wildcards:
        return canonical(field_name, text)
    parts, room = [""], VALUE_CHARS_MAX - 1
    for char in text:
        room -= 2 if char in "*\\" else 1
        if room < 0:
            parts.append("")
            break
        if _is_control(char):
            parts.append("")
        else:
            parts[-1] += char
    return canonical(field_name, pattern.joined(tuple(parts)))


def check_characters(value: str, where: str) -> None:
    """Refuse an empty or over-long value, control characters (NUL among them) and halves of surrogate pairs."""
    if not value:
        raise InvalidQuery(
            f"{where} has no value.", hint="Write the value right after the colon, or leave the key out."
        )
    if len(value) > VALUE_CHARS_MAX:
        raise InvalidQuery(
            f"A value of {where} has {len(value):,} characters.",
            hint=f"At most {VALUE_CHARS_MAX}; shorten it with *.",
        )
    for char in value:
        if _is_control(char):
            raise InvalidQuery(
                f"A value of {where} contains the character U+{ord(char):04X}.",
                hint="Remove control characters, or put * in their place.",
            )


def shown(text: str) -> str:
    """Return text that is safe and short enough to be repeated in an error message: nothing turns its reading direction."""
    clean = "".join(char if char.isprintable() or char == "\u200d" else "�" for char in text[:60])
    return clean + ("…" if len(text) > 60 else "")


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs")


def _choice(field: Field, value: str) -> str:
    chosen = value.lower().replace("-", "_")
    if chosen not in field.choices:
        near = difflib.get_close_matches(chosen, field.choices, n=1)
        suggestion = f"Did you mean {near[0]}? " if near else ""
        raise InvalidQuery(
            f"“{shown(value)}” is no value of {field.name}.",
            hint=f"{suggestion}There is {', '.join(field.choices)}.",
        )
    return chosen


def _network(value: str) -> str:
    """Canonicalise an address or CIDR network; IPv4 addresses mapped into IPv6 (RFC 4291, 2.5.5.2) become IPv4."""
    hint = "Write an address such as 203.0.113.9 or 2001:db8::1, or a network such as 10.0.0.0/8."
    if "%" in value:
        raise InvalidQuery(f"“{shown(value)}” has a zone after %.", hint=hint)
    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        if "*" in value:
            hint = "ip takes no *; write the network instead, such as 10.0.0.0/24."
        raise InvalidQuery(f"“{shown(value)}” is no IP address or network.", hint=hint) from error
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            network = ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _event_id(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise InvalidQuery(
            f"“{shown(value)}” is no event id.",
            hint="id is the event's own UUID; for the id of a person or thing use actor: or target:.",
        ) from error
