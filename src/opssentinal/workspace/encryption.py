"""Secrets at rest: what the product must be able to use again, such as a client secret, stored unreadable without its key.

The key is derived from the server's secret key, which lives outside of the database; whoever changes that enters these
secrets again. Fernet (cryptography) authenticates what it encrypts.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from opssentinal.errors import Unavailable


def encrypt(secret: str) -> str:
    """The secret as it may be stored."""
    return _cipher(settings.SECRET_KEY).encrypt(secret.encode()).decode()


def decrypt(stored: str) -> str:
    """The secret again. Raises Unavailable if it was stored under another server key, or altered."""
    try:
        return _cipher(settings.SECRET_KEY).decrypt(stored.encode()).decode()
    except InvalidToken as error:
        raise Unavailable(
            "A stored secret cannot be read with this server's key.",
            permanent=True,
            hint="Enter the secret again, or set OPSSENTINAL_SECRET_KEY back to what it was.",
        ) from error


@lru_cache(maxsize=4)
def _cipher(secret_key: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"opssentinal.encryption.v1").derive(
        secret_key.encode()
    )
    return Fernet(urlsafe_b64encode(derived))
