"""The forms of second factors and passkeys: django-allauth's, in our words, with every wrong attempt recorded.

django-allauth checks and writes; here are the names of the fields, the record of refusals, and the transactions in which
its writes on the way (when a factor was last used) wait their turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from struct import error as StructError
from typing import Any

from allauth.core import context as allauth_context
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    EditWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from allauth.mfa.webauthn.internal.auth import extract_user_from_response
from django import forms
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import transaction

from opssentinal.errors import Unavailable
from opssentinal.ledger.recording import recording
from opssentinal.workspace.encryption import decrypt, encrypt
from opssentinal.workspace.factor_adapter import FactorAdapter
from opssentinal.workspace.models import User
from opssentinal.workspace.principals import request_actor, request_context
from opssentinal.workspace.second_factor import changed, updated
from opssentinal.workspace.sign_in import proof_of, record_failure

KEY_NAME_MAX = 100
CODE_MAX = 32
CREDENTIAL_MAX = 20_000
LOCKED_OUT_EVERY_S = 60
# A code is good in its own half minute and, for clocks that differ, in the one before and after.
_CODE_LIFE_S = app_settings.TOTP_PERIOD * (2 * app_settings.TOTP_TOLERANCE + 1)

_UNREADABLE = "unreadable"
_REASONS = {"too_many_login_attempts": "locked_out", _UNREADABLE: "unreadable_factor"}


@contextmanager
def _recording_refusals(user: User | None, method: str | None = None) -> Iterator[None]:
    """Record login.failure where the checking inside refuses; of attempts that are locked out, one in each minute."""
    request = allauth_context.request
    try:
        yield
    except ValidationError as error:
        reason = _REASONS.get(str(error.code), "wrong_code")
        first = reason != "locked_out" or cache.add(f"factor-refused:{user and user.pk}", True, LOCKED_OUT_EVERY_S)
        if first:
            known = method or (proof_of(request, user)["method"] if user else "passkey")
            record_failure(request, user, known, reason)
        raise


class CredentialField(forms.JSONField):
    """An object in JSON, of a size and depth that a browser could have made."""

    def to_python(self, value: Any) -> Any:
        """Raises ValidationError for everything else."""
        wrong = FactorAdapter().validation_error("incorrect_code")
        if isinstance(value, str) and len(value) > CREDENTIAL_MAX:
            raise wrong
        try:
            parsed = super().to_python(value)
        except RecursionError as error:
            raise wrong from error
        if not isinstance(parsed, dict):
            raise wrong
        return parsed

    def prepare_value(self, value: Any) -> str:
        """Empty: what was signed before is worth nothing in the next attempt."""
        return ""

    def bound_data(self, data: Any, initial: Any) -> None:
        """Nothing, for the same reason."""


class _Code(forms.Form):
    """A code typed in, which works once."""

    user: User
    authenticator: Authenticator

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"] = forms.CharField(
            label="Code",
            max_length=CODE_MAX,
            help_text="From your authenticator app, or one of your recovery codes.",
            widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}),
        )

    def clean_code(self) -> str:
        with _recording_refusals(self.user), transaction.atomic():
            try:
                code: str = super().clean_code()  # type: ignore[misc]  # of the form that this is mixed into
            except Unavailable as error:
                message = "This server can no longer read your second factor. An admin can reset it."
                raise ValidationError(message, code=_UNREADABLE) from error
            if self.authenticator.type == Authenticator.Type.TOTP and not _is_first_use(self.user, code):
                raise FactorAdapter().validation_error("incorrect_code")
            return code

    def save(self) -> None:
        with transaction.atomic():
            super().save()  # type: ignore[misc]


class CodeForm(_Code, AuthenticateForm):
    """A code as the second step of signing in."""


class CodeAgainForm(_Code, ReauthenticateForm):
    """A code of somebody who is signed in and about to change something that matters."""

    def save(self) -> None:
        if self.authenticator.type != Authenticator.Type.RECOVERY_CODES:
            super().save()
            return
        request = allauth_context.request
        with recording() as record:  # a sign-in tells by itself that a recovery code was used
            super().save()
            used = changed(self.authenticator, after="used")
            record(updated(self.user, request_actor(request), request_context(request), used))


class _Key(forms.Form):
    """What a passkey or security key has signed, in a hidden field that a script fills."""

    user: User | None
    method: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["credential"] = CredentialField(widget=forms.HiddenInput)

    def clean_credential(self) -> Authenticator:
        user = self.user or _claimed_user(self.cleaned_data["credential"])
        with _recording_refusals(user, self.method):
            return checked_credential(super().clean_credential)  # type: ignore[misc]

    def save(self) -> None:
        with transaction.atomic():
            super().save()  # type: ignore[misc]


class KeyForm(_Key, AuthenticateWebAuthnForm):
    """A passkey as the second step of signing in."""


class KeyAgainForm(_Key, ReauthenticateWebAuthnForm):
    """A passkey of somebody who is signed in and about to change something that matters."""


class PasskeySignInForm(_Key, LoginWebAuthnForm):
    """A passkey instead of a password."""

    method = "passkey"


class NewAuthenticatorAppForm(ActivateTOTPForm):
    """The first code of a new authenticator app. Until then its key waits in the session, encrypted there as well."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        session = allauth_context.request.session
        if SECRET_SESSION_KEY in session:
            session[SECRET_SESSION_KEY] = decrypt(session[SECRET_SESSION_KEY])
        super().__init__(*args, **kwargs)
        session[SECRET_SESSION_KEY] = encrypt(self.secret)
        self.fields["code"] = forms.CharField(
            label="Code of the app",
            max_length=CODE_MAX,
            help_text="Six digits, which the app shows once it has the key.",
            widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
        )

    def clean_code(self) -> str:
        """A right code, which from then on signs nobody in."""
        code: str = super().clean_code()
        _is_first_use(self.user, code)  # whether or not it was: no code of another key can have been this one
        return code


class NewPasskeyForm(AddWebAuthnForm):
    """A passkey or security key, and what to call it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"] = forms.CharField(
            label="Name", required=False, max_length=KEY_NAME_MAX, help_text="Such as the device it is on."
        )
        self.fields["credential"] = CredentialField(widget=forms.HiddenInput)
        self.fields["passwordless"] = forms.BooleanField(
            label="Sign in with it instead of the password",
            required=False,
            initial=True,
            help_text="It then asks for a PIN, a finger or a face. Leave this off for a security key that cannot.",
        )

    def clean(self) -> dict[str, Any]:
        return dict(checked_credential(super().clean))


class PasskeyNameForm(EditWebAuthnForm):
    """Another name for a passkey."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"] = forms.CharField(label="Name", max_length=KEY_NAME_MAX)


def _is_first_use(user: User, code: str) -> bool:
    """Whether an app's code was not used before; it is now. Written in other ways, with spaces or dashes, it is the same."""
    return bool(cache.add(f"code-used:{user.pk}:{normalize_user_code(code)}", True, _CODE_LIFE_S))


def checked_credential(check: Any) -> Any:
    """Run a check of what a browser says a key has signed; whatever is wrong with it is the same wrong attempt.

    django-allauth and fido2 take apart what the visitor sent and fail in many ways where it has another shape.
    """
    try:
        return check()
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, StructError) as error:
        raise FactorAdapter().validation_error("incorrect_code") from error


def _claimed_user(credential: Any) -> User | None:
    """The account a passkey says it belongs to, which nothing has proved yet."""
    try:
        user = checked_credential(lambda: extract_user_from_response(credential))
    except ValidationError:
        return None
    return user if isinstance(user, User) else None
