"""django-allauth's decisions about second factors as this product makes them."""

from __future__ import annotations

from typing import ClassVar

from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator

from opssentinal.workspace.encryption import decrypt, encrypt
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import preferences


class FactorAdapter(DefaultMFAAdapter):
    """Secrets of second factors lie encrypted in the database; names are the workspace's."""

    error_messages: ClassVar = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "This was not right. Codes change every 30 seconds, and each works once.",
        "cannot_generate_recovery_codes": "Recovery codes come with an authenticator app or a passkey: add one first.",
    }

    def encrypt(self, text: str) -> str:
        """Keys of authenticator apps and seeds of recovery codes."""
        return encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Raises Unavailable where the server's key is another one now."""
        return decrypt(encrypted_text)

    def get_totp_issuer(self) -> str:
        """How an authenticator app lists the account."""
        return preferences().workspace_name

    def build_totp_svg(self, url: str) -> str:
        """The QR code as an element of a page: `data:` addresses are refused by the Content-Security-Policy."""
        svg = super().build_totp_svg(url)
        return svg[svg.index("<svg") :].replace("<svg", '<svg role="img" aria-label="QR code of the key"', 1)

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:
        """Suggest a name for a new passkey."""
        number = Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1
        return f"Passkey {number}"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Who asks: a passkey works on the host it was made on, and shows this name."""
        return super().get_public_key_credential_rp_entity() | {"name": preferences().workspace_name}

    def get_public_key_credential_user_entity(self, user: User) -> dict[str, str | bytes]:
        """Whom a passkey signs in: by the account's number, so that another e-mail address changes nothing."""
        return {"id": user_pk_to_url_str(user).encode(), "name": user.email, "display_name": user.name or user.email}
