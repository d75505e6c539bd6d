"""The two forms of Settings → Data Retention, which are apart because what they rule is apart."""

from __future__ import annotations

from typing import Any

from django import forms

from opssentinal.retention import policy

FOR_EVER, CUSTOM = "forever", "custom"


class AuditRetentionForm(forms.Form):
    """How long audit events are kept: a preset, or days of one's own."""

    period = forms.ChoiceField(
        label="Keep audit events for",
        choices=[(FOR_EVER if days is None else str(days), text) for days, text in policy.PRESETS]
        + [(CUSTOM, "Another number of days")],
        widget=forms.RadioSelect,
    )
    days = forms.IntegerField(
        label="Days, for another number",
        required=False,
        min_value=policy.DAYS_MIN,
        max_value=policy.DAYS_MAX,
        help_text=f"At least {policy.DAYS_MIN}: below a month, somebody who took over an admin’s account could have "
        "their own traces removed before anybody looks.",
    )
    confirmed = forms.BooleanField(required=False, widget=forms.HiddenInput)

    @classmethod
    def showing(cls, days: int | None) -> AuditRetentionForm:
        """The form with the retention in force."""
        presets = [preset for preset, _ in policy.PRESETS]
        if days in presets:
            return cls(initial={"period": FOR_EVER if days is None else str(days)})
        return cls(initial={"period": CUSTOM, "days": days})

    def clean(self) -> dict[str, Any]:
        """Ask for the days where they are one's own."""
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("period") == CUSTOM and cleaned.get("days") is None and "days" not in self.errors:
            self.add_error("days", "Enter the number of days.")
        return cleaned

    @property
    def chosen_days(self) -> int | None:
        """The retention chosen in a valid form, in days; None for ever."""
        period = self.cleaned_data["period"]
        if period == FOR_EVER:
            return None
        return int(self.cleaned_data["days"] if period == CUSTOM else period)


class CleanupForm(forms.Form):
    """The standard cleanup's own settings."""

    cleanup_sessions_days = forms.IntegerField(
        label="Delete expired sessions after (days)",
        min_value=1,
        max_value=policy.DAYS_MAX,
        help_text="Counted from when the session expired. Nobody is signed out by it.",
    )
    cleanup_exports_days = forms.IntegerField(
        label="Delete the files of exports after (days)",
        min_value=1,
        max_value=policy.DAYS_MAX,
        help_text="For exports finished from now on. Who exported what stays listed, and in the audit log.",
    )
