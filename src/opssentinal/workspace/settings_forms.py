"""The forms of Settings → General and Settings → Security; a field is called as its preference is."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import DomainNameValidator, validate_ipv46_address

from opssentinal.query import zone_names
from opssentinal.workspace.mail import is_sender
from opssentinal.workspace.preferences import Preferences
from opssentinal.workspace.seen import version_of
from opssentinal.workspace.text import validate_line


class SettingsForm(forms.Form):
    """Settings beside the version of them that the page showed, which goes with them to whoever stores them."""

    # Without an id, since several of these forms stand on a page.
    seen = forms.CharField(required=False, widget=forms.HiddenInput(attrs={"id": False}))

    @property
    def version(self) -> str | None:
        """The version that was on the page, None for a form that brings none."""
        return self.cleaned_data["seen"] or None

    @property
    def entered(self) -> dict[str, Any]:
        """The settings of a valid form."""
        return {name: value for name, value in self.cleaned_data.items() if name != "seen"}


class PreferencesForm(SettingsForm):
    """Some of the preferences; a field is called as its preference is."""

    @classmethod
    def showing(cls, chosen: Preferences, **more: Any) -> Self:
        """The form with what is in force; `more` are further arguments of the form."""
        shown = {name: value for name, value in msgspec.structs.asdict(chosen).items() if name in cls.base_fields}
        return cls(initial=shown | {"seen": version_of(shown)}, **more)


class GeneralForm(PreferencesForm):
    """What the workspace is called and where it is."""

    workspace_name = forms.CharField(
        label="Name",
        max_length=100,
        help_text="Shown on every page, in messages and in authenticator apps.",
        validators=[validate_line],
    )
    public_url = forms.CharField(
        label="Public URL",
        max_length=200,
        required=False,
        widget=forms.URLInput(attrs={"placeholder": "https://audit.example.com"}),
    )
    time_zone = forms.ChoiceField(
        label="Time zone",
        choices=lambda: [(name, name) for name in zone_names()],
        help_text="In which pages show times; Audit Logs lets its reader choose another. Events are stored in UTC.",
    )

    def clean_public_url(self) -> str:
        """An address without path or user."""
        url = str(self.cleaned_data["public_url"]).rstrip("/")
        if not url:
            return ""
        try:
            parts = urlsplit(url)
            is_plain = parts.port != 0 and url.lower() == f"{parts.scheme}://{parts.netloc}".lower()
        except ValueError:
            is_plain = False
        if not is_plain or parts.scheme not in ("http", "https") or "@" in parts.netloc:
            raise ValidationError("Begin with https:// or http://, and end with the host name or a port.")
        _check_host(parts.hostname or "")
        return url.lower()


# What decides where a password goes, and who can read it on the way.
_PASSWORD_GOES_BY = ("smtp_host", "smtp_port", "smtp_security", "smtp_user")


class EmailForm(PreferencesForm):
    """The mail server. The password is written and never shown again."""

    smtp_host = forms.CharField(label="Mail server", max_length=253, required=False, help_text="Empty: no e-mail.")
    smtp_port = forms.IntegerField(label="Port", min_value=1, max_value=65_535)
    smtp_security = forms.ChoiceField(
        label="Encryption",
        choices=[
            ("starttls", "STARTTLS, usually on port 587"),
            ("tls", "TLS from the start, usually on port 465"),
            ("none", "None: password and messages can be read on the way"),
        ],
    )
    smtp_user = forms.CharField(
        label="User name", max_length=320, required=False, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    smtp_password = forms.CharField(
        label="Password",
        max_length=1000,
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    smtp_from = forms.CharField(
        label="Sender", max_length=320, required=False, help_text="Such as Audit log &lt;audit@example.com&gt;."
    )

    def __init__(self, *args: Any, stored: Preferences, has_password: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stored = stored
        self._has_password = has_password
        if has_password:
            self.fields["smtp_password"].help_text = "One is stored. Leave this empty to keep it."

    def clean_smtp_host(self) -> str:
        """A host name or an address."""
        host = str(self.cleaned_data["smtp_host"]).lower()
        if host:
            _check_host(host)
        return host

    def clean_smtp_from(self) -> str:
        """One address, with a name or without."""
        sender = str(self.cleaned_data["smtp_from"])
        if sender and not is_sender(sender):
            raise ValidationError("Enter an address, or a name and an address in angle brackets.")
        return sender

    def clean(self) -> dict[str, Any]:
        """What belongs together; a stored password goes to the server it was entered for and to no other."""
        chosen: dict[str, Any] = super().clean() or {}
        host, user, password = (chosen.get(name) for name in ("smtp_host", "smtp_user", "smtp_password"))
        if host and not chosen.get("smtp_from") and "smtp_from" not in self.errors:
            self.add_error("smtp_from", "Messages need a sender.")
        if host and user and not password:
            if not self._has_password:
                self.add_error("smtp_password", "A user name needs a password.")
            elif any(chosen.get(name) != getattr(self._stored, name) for name in _PASSWORD_GOES_BY):
                self.add_error(
                    "smtp_password", "Enter it again: the stored one is for another server, port, encryption or user."
                )
        return chosen

    def split(self) -> tuple[dict[str, Any], dict[str, str | None]]:
        """The preferences and the secrets of a valid form. Without a server or a user name no password is kept."""
        chosen = self.entered
        password = chosen.pop("smtp_password")
        if not (chosen["smtp_host"] and chosen["smtp_user"]):
            return chosen, {"smtp_password": None}
        return chosen, {"smtp_password": password} if password else {}


class SecurityForm(PreferencesForm):
    """Passwords, lock-out, second factor and auditors."""

    password_length_min = forms.IntegerField(
        label="Least length of a password",
        min_value=8,
        max_value=128,
        help_text="For passwords that are set from now on. Common passwords, mere digits and one’s own name are refused"
        " in any case.",
    )
    lockout_attempts = forms.IntegerField(
        label="Lock an account out after so many wrong passwords or codes", min_value=3, max_value=100
    )
    lockout_minutes = forms.IntegerField(
        label="Minutes within which they count, and until the next attempt",
        min_value=1,
        max_value=1_440,
        help_text="Passkeys go on working meanwhile.",
    )
    second_factor_required = forms.ChoiceField(
        label="Who must have a second factor",
        choices=[("nobody", "Nobody"), ("admins", "Admins"), ("everybody", "Everybody")],
        help_text="Whoever has none is led to setting one up, at once and from every page. Not who comes through single "
        "sign-on: require it at the provider. API keys need none.",
    )
    auditors_read_log = forms.BooleanField(
        label="Auditors may read and export the audit log",
        required=False,
        help_text="Each within the period of their account. Off: only admins may.",
    )


def _check_host(host: str) -> None:
    """Raise ValidationError for what is neither a host name nor an address."""
    try:
        validate_ipv46_address(host)
    except ValidationError:
        # Names of one label are usual inside of a house, and the validator asks for two.
        DomainNameValidator(accept_idna=False, message="This is no host name.")(
            host if "." in host else f"{host}.house"
        )
