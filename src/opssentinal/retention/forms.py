"""The forms of Settings → Data Retention, which are apart because what they rule is apart."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict

from opssentinal.errors import InvalidInput
from opssentinal.query import Filter, parse, zone_named
from opssentinal.retention import policy
from opssentinal.workspace.preferences import preferences
from opssentinal.workspace.seen import version_of
from opssentinal.workspace.settings_forms import PreferencesForm, SettingsForm

FOR_EVER, CUSTOM = "forever", "custom"
COOLDOWN_HOURS_MAX = 720
_PERIODS = [(FOR_EVER if days is None else str(days), text) for days, text in policy.PRESETS]


class AuditRetentionForm(SettingsForm):
    """How long audit events are kept: a preset, or days of one's own."""

    period = forms.ChoiceField(
        label="Keep audit events for",
        choices=[*_PERIODS, (CUSTOM, "Another number of days")],
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
    def showing(cls, days: int | None, sent: QueryDict | None = None) -> AuditRetentionForm:
        """The form with the retention in force, and what was sent from it."""
        seen = version_of({"audit_retention_days": days})
        presets = [preset for preset, _ in policy.PRESETS]
        if days in presets:
            return cls(sent, initial={"period": FOR_EVER if days is None else str(days), "seen": seen})
        return cls(sent, initial={"period": CUSTOM, "days": days, "seen": seen})

    def clean(self) -> dict[str, Any]:
        """Ask for the days where they are one's own, and which of the two is meant where they contradict the preset."""
        cleaned: dict[str, Any] = super().clean() or {}
        period, days = cleaned.get("period"), cleaned.get("days")
        if period == CUSTOM and days is None and "days" not in self.errors:
            self.add_error("days", "Enter the number of days.")
        # The number in force stands there without anybody having typed it.
        if period not in (None, CUSTOM) and days is not None and "days" in self.changed_data:
            preset = dict(_PERIODS)[period]
            self.add_error(
                "days", f"Choose “Another number of days” to keep them so long, or leave this empty for “{preset}”."
            )
        return cleaned

    @property
    def chosen_days(self) -> int | None:
        """The retention chosen in a valid form, in days; None for ever."""
        period = self.cleaned_data["period"]
        if period == FOR_EVER:
            return None
        return int(self.cleaned_data["days"] if period == CUSTOM else period)


class SafeguardsForm(PreferencesForm):
    """What a weaker protection has to wait for."""

    second_admin_approves = forms.BooleanField(
        label="A second admin has to approve",
        required=False,
        help_text="While there are two or more active admins, or were until lately: a shorter audit retention, a shorter "
        "cool-down, releasing a legal hold, and turning this off.",
    )
    retention_cooldown_hours = forms.IntegerField(
        label="Cool-down (hours)",
        min_value=0,
        max_value=COOLDOWN_HOURS_MAX,
        help_text="So long each of these waits, also where there is no second admin, and can be cancelled; 0 is not at all. "
        "A shorter cool-down waits for the present one.",
    )


class CleanupForm(PreferencesForm):
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
    cleanup_deliveries_days = forms.IntegerField(
        label="Delete finished deliveries of integrations after (days)",
        min_value=1,
        max_value=policy.DAYS_MAX,
        help_text="The list of what was sent when. Deliveries that are still to be made stay.",
    )
    cleanup_incidents_days = forms.IntegerField(
        label="Delete closed incidents after (days)",
        required=False,
        min_value=1,
        max_value=policy.DAYS_MAX,
        help_text="Counted from when the incident was closed. Empty: never.",
    )


class ClockForm(forms.Form):
    """What the clock said on the page that asks whether it is right."""

    seen = forms.DateTimeField()


class HoldForm(forms.Form):
    """What is held, and why."""

    name = forms.CharField(max_length=100, help_text="What you will recognise it by, such as Case 2026-17.")
    query = forms.CharField(
        label="Events",
        max_length=4_000,
        help_text="A query as on Audit Logs, by actor, target, action, tenant or time, such as "
        "<code>actor:alice@example.com after:2026-01-01</code>.",
    )
    reason = forms.CharField(max_length=1_000, widget=forms.Textarea(attrs={"rows": 3}))
    confirmed = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def clean_query(self) -> str:
        """Read the query; `filter` is what it means now. A day is one of the workspace's zone, as on Audit Logs."""
        text: str = self.cleaned_data["query"]
        try:
            self.filter = parse(text, zone_named(preferences().time_zone))
        except InvalidInput as error:
            raise forms.ValidationError(str(error)) from error
        if self.filter == Filter():
            raise forms.ValidationError(
                "This means every event. To keep all of them, set the audit retention to For ever."
            )
        return text
