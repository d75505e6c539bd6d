"""Signing secrets and signatures of Standard Webhooks 1.0.0, symmetric scheme `v1`."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
_BYTES = 32  # the specification asks for 24 to 64


def make_secret() -> str:
    """A new random secret, written as receivers enter it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The signature of one attempt, which `timestamp` (seconds since the epoch) is the time of."""
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def headers(secrets_in_use: Iterable[str], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a webhook. Several secrets give several signatures, of which a receiver needs to know one."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, webhook_id, timestamp, body) for secret in secrets_in_use),
    }
