"""The forms of signing in, changing the password and setting up."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import ChangePasswordForm, LoginForm, ReauthenticateForm, ResetPasswordKeyForm
from django import forms
from django.contrib.auth.password_validation import password_validators_help_text_html

from opssentinal.workspace.models import EMAIL_MAX, NAME_MAX
from opssentinal.workspace.text import validate_line


class SignInForm(LoginForm):
    """E-mail and password. What is no address at all is an attempt like any other: same answer, and recorded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"] = forms.CharField(
            label="E-mail",
            max_length=EMAIL_MAX,
            widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
        )
        self.fields["password"].widget.attrs.pop("placeholder", None)
        self.fields["password"].help_text = ""  # the page itself says who can help
        self.order_fields(["login", "password"])

    def clean_login(self) -> str:
        """Accounts are found by the lower-case address."""
        return str(super().clean_login()).lower()


class PasswordAgainForm(ReauthenticateForm):
    """The password of somebody who is signed in and about to change something that matters."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].widget.attrs = {"autocomplete": "current-password", "autofocus": True}
        self.fields["password"].help_text = ""


class NewPasswordForm(ChangePasswordForm):
    """The current password and the new one twice."""

    field_order = ("oldpassword", "password1", "password2")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        labels = {"oldpassword": "Current password", "password1": "New password", "password2": "New password again"}
        for name, label in labels.items():
            self.fields[name].label = label
            self.fields[name].widget.attrs.pop("placeholder", None)


class LinkPasswordForm(ResetPasswordKeyForm):
    """The password that a one-time link sets, twice."""

    field_order = ("password1", "password2")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in {"password1": "New password", "password2": "New password again"}.items():
            self.fields[name].label = label
            self.fields[name].widget.attrs.pop("placeholder", None)


class NameForm(forms.Form):
    """What people may change of their own account."""

    name = forms.CharField(
        max_length=NAME_MAX,
        validators=[validate_line],
        help_text="As the log will show it from now on.",
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )


class SetupForm(forms.Form):
    """The first admin."""

    token = forms.CharField(widget=forms.HiddenInput)
    name = forms.CharField(
        label="Your name",
        max_length=NAME_MAX,
        validators=[validate_line],
        help_text="As the log will show it.",
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    email = forms.EmailField(
        label="E-mail", max_length=EMAIL_MAX, widget=forms.EmailInput(attrs={"autocomplete": "username"})
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        help_text=password_validators_help_text_html(),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    password_again = forms.CharField(
        label="Password again", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

    def clean(self) -> dict[str, Any]:
        """Both passwords must be the same."""
        values = super().clean() or {}
        if {"password", "password_again"} <= values.keys() and values["password"] != values["password_again"]:
            self.add_error("password_again", "The two passwords differ.")
        return values
