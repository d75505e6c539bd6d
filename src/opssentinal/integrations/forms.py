"""The forms of Settings → Integrations; `services` checks what is entered."""

from __future__ import annotations

from django import forms
from django.utils import timezone

from opssentinal.errors import InvalidQuery
from opssentinal.events.model import to_us
from opssentinal.integrations.models import BATCH_EVENTS_MAX, NAME_MAX, URL_MAX, Integration
from opssentinal.integrations.services import editable
from opssentinal.ledger.reader import first_since
from opssentinal.query import parse_instant
from opssentinal.workspace.seen import version_of
from opssentinal.workspace.settings_forms import SettingsForm

_OVERLAP = {"0": "at once", "24": "after 24 hours", "72": "after 3 days", "168": "after 7 days"}


class WebhookForm(SettingsForm):
    """A webhook as an admin enters it."""

    name = forms.CharField(max_length=NAME_MAX, help_text="What you will recognise it by, such as SIEM production.")
    url = forms.CharField(
        label="URL",
        max_length=URL_MAX,
        widget=forms.URLInput,
        help_text="Where events are sent to: https, unless the operator allows a receiver inside the network.",
    )
    query = forms.CharField(
        label="Events",
        max_length=4_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="A query as on Audit Logs, such as <code>is:sensitive -outcome:success</code>. Empty: every event.",
    )
    batch_events_max = forms.IntegerField(
        label="Events in a delivery, at most", min_value=1, max_value=BATCH_EVENTS_MAX, initial=100
    )

    @classmethod
    def showing(cls, integration: Integration) -> WebhookForm:
        """The form filled with what is."""
        return cls(initial=editable(integration) | {"seen": version_of(editable(integration))})


class RotateForm(forms.Form):
    """A new secret, and how long the one before signs beside it."""

    version = forms.IntegerField(widget=forms.HiddenInput)
    overlap_hours = forms.TypedChoiceField(
        label="The old secret stops signing",
        choices=list(_OVERLAP.items()),
        coerce=int,
        initial="24",
        help_text="Until then every delivery carries both signatures, and a receiver may know either secret.",
    )


class ReplayForm(forms.Form):
    """From where events are sent again: the number of an event or a time."""

    start = forms.CharField(
        label="From",
        max_length=64,
        help_text="An event's number (<code>41000</code>), or when it was recorded: <code>2026-11-20 14:00</code>, "
        "<code>yesterday</code>, <code>6h</code> for six hours ago.",
    )

    def clean_start(self) -> int:
        """The seq it means."""
        text = self.cleaned_data["start"]
        number = text.replace(",", "")
        if number.isascii() and number.isdigit() and len(number) < 19:
            return int(number)
        try:
            moment = parse_instant(text, timezone.get_current_timezone())
        except InvalidQuery as error:
            raise forms.ValidationError(f"{error.detail} {error.hint}") from error
        return first_since(to_us(moment))
