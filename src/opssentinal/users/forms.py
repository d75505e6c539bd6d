"""The forms of Settings → Users."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from opssentinal.users.listing import SEARCH_MAX, STATES
from opssentinal.users.services import editable
from opssentinal.workspace.models import EMAIL_MAX, NAME_MAX, Role, User
from opssentinal.workspace.seen import version_of
from opssentinal.workspace.settings_forms import SettingsForm
from opssentinal.workspace.text import validate_line

_MINUTE = "%Y-%m-%dT%H:%M"
LIMITS = ("expires_at", "log_from", "log_until")


class FindForm(forms.Form):
    """What the list shows. Whatever is not understood is not applied."""

    q = forms.CharField(
        label="Name or e-mail",
        max_length=SEARCH_MAX,
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Name or e-mail"}),
    )
    role = forms.ChoiceField(choices=[("", "Any role"), *Role.choices], required=False)
    state = forms.ChoiceField(choices=[("", "Any state"), *((s, s.capitalize()) for s in STATES)], required=False)

    def wanted(self) -> dict[str, str]:
        """What was understood, as arguments of `listing.find_accounts`."""
        self.is_valid()
        return {
            "search": self.cleaned_data.get("q", ""),
            "role": self.cleaned_data.get("role", ""),
            "state": self.cleaned_data.get("state", ""),
        }


def _moment(label: str, help_text: str) -> forms.DateTimeField:
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_MINUTE)
    return forms.DateTimeField(label=label, help_text=help_text, required=False, widget=widget)


class AccountForm(SettingsForm):
    """An account's name, address, role and limits. Times are those of the page, to the minute."""

    name = forms.CharField(
        max_length=NAME_MAX, required=False, help_text="As the log will show it.", validators=[validate_line]
    )
    email = forms.EmailField(label="E-mail", max_length=EMAIL_MAX)
    role = forms.ChoiceField(
        choices=Role.choices,
        initial=Role.MEMBER,
        help_text="Admins do everything. Auditors read and export the log where that is allowed. Members have their own "
        "profile and the incidents.",
    )
    expires_at = _moment("Account ends", "From then on it cannot sign in. In the time zone of the workspace.")
    log_from = _moment("Log from", "An auditor sees events from then on.")
    log_until = _moment("Log until", "An auditor sees events before then.")

    @classmethod
    def of(cls, user: User, data: Any = None, *, fixed: dict[str, str] | None = None) -> AccountForm:
        """The form of an account; `fixed` are fields that cannot be changed now, each with the reason."""
        initial = {field: getattr(user, field) for field in ("name", "email", "role")}
        initial |= {field: _to_the_minute(getattr(user, field)) for field in LIMITS}
        form = cls(data, initial=initial | {"seen": version_of(editable(user))})
        for name, reason in (fixed or {}).items():
            form.fields[name].disabled = True
            form.fields[name].help_text = reason
        return form

    def clean_expires_at(self) -> datetime | None:
        """An end lies ahead; one that is over may stay as it is."""
        end: datetime | None = self.cleaned_data["expires_at"]
        if end is not None and "expires_at" in self.changed_data and end <= timezone.now():
            raise forms.ValidationError("Choose a time to come. To end the account now, deactivate it.")
        return end

    def changes(self) -> dict[str, Any]:
        """What differs from what is: a moment is shown to the minute, and one that is not changed stays to the second."""
        return {field: self.cleaned_data[field] for field in self.changed_data if field in self.entered}


def _to_the_minute(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(second=0, microsecond=0)
