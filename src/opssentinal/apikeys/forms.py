"""The form that makes an API key."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from opssentinal.apikeys.principal import EVENTS_WRITE, SCOPES

_EXPIRY = {"30": "in 30 days", "90": "in 90 days", "365": "in one year", "": "never"}


class APIKeyForm(forms.Form):
    """What a key is called, what it sends as, what it may do and for how long; `services.create_key` checks the rest."""

    name = forms.CharField(max_length=100, help_text="What you will recognise it by, such as Billing production.")
    source = forms.CharField(
        max_length=64, help_text="The program that uses it, such as <code>billing</code>: the source of its events."
    )
    scopes = forms.MultipleChoiceField(
        label="Scopes",
        choices=[(scope, f"{scope}: {meaning}") for scope, meaning in SCOPES.items()],
        widget=forms.CheckboxSelectMultiple,
        initial=[EVENTS_WRITE],
    )
    expires = forms.ChoiceField(choices=list(_EXPIRY.items()), initial="90", required=False)
    tenant = forms.CharField(
        max_length=128, required=False, help_text="If set, the key sends and sees the events of this tenant only."
    )
    networks = forms.CharField(
        required=False,
        max_length=2_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="If set, the key works from these networks only, such as <code>10.0.0.0/8</code>; one per line.",
    )

    def chosen(self) -> dict[str, Any]:
        """The cleaned fields as arguments of `services.create_key`."""
        cleaned = self.cleaned_data
        expires_at: datetime | None = None
        if cleaned["expires"]:
            expires_at = timezone.now() + timedelta(days=int(cleaned["expires"]))
        return {
            "name": cleaned["name"],
            "source": cleaned["source"],
            "scopes": cleaned["scopes"],
            "expires_at": expires_at,
            "tenant": cleaned["tenant"] or None,
            "networks": cleaned["networks"].replace(",", " ").split(),
        }
