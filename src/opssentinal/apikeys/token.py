"""The text of an API key: one word that people can copy, scanners can find and typing errors cannot pass.

    ops_ + public id (8) + secret (32) + checksum (6)        all base62, 50 characters

The public id names the key in pages, logs and events; the secret has 190 bits; the checksum is the CRC-32 of the 44
characters before it, so that a mistyped or invented key is refused without asking the database. After GitHub's format.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from binascii import crc32

PREFIX = "ops_"
PUBLIC_ID_CHARS = 8
SECRET_CHARS = 32  # log2(62 ** 32) = 190.5 bits
CHECKSUM_CHARS = 6  # 62 ** 6 > 2 ** 32

# What secret scanners look for; printed in docs/guide/api.md.
TOKEN_PATTERN = r"\bops_[0-9A-Za-z]{46}\b"

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BODY = slice(len(PREFIX), len(PREFIX) + PUBLIC_ID_CHARS)
_WHOLE = re.compile(TOKEN_PATTERN[2:-2], re.ASCII)


def make_token(public_id: str | None = None) -> str:
    """Make a new token from the system's random numbers, of this public id if it is chosen already."""
    body = PREFIX + (public_id or make_public_id()) + _random(SECRET_CHARS)
    return body + _checksum(body)


def make_public_id() -> str:
    """Choose the name of a key that is yet to be made."""
    return _random(PUBLIC_ID_CHARS)


def is_well_formed(token: str) -> bool:
    """Whether the token has the format and its checksum is right; says nothing about whether the key exists."""
    return _WHOLE.fullmatch(token) is not None and token[-CHECKSUM_CHARS:] == _checksum(token[:-CHECKSUM_CHARS])


def public_id(token: str) -> str:
    """The part of a well-formed token that may be shown."""
    return token[_BODY]


def digest(token: str) -> str:
    """What is stored of a token: its SHA-256 in hex. A fast hash is right here, since 190 random bits cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def _random(count: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(count))


def _checksum(body: str) -> str:
    number, text = crc32(body.encode()), ""
    for _ in range(CHECKSUM_CHARS):
        number, place = divmod(number, 62)
        text = _BASE62[place] + text
    return text
