"""The forms of Insights → Incidents; `services` checks what they cannot."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q

from opssentinal.incidents.listing import UNASSIGNED, Wanted
from opssentinal.incidents.models import TENANT_MAX, TEXT_MAX, TITLE_MAX, Incident, Severity, Status
from opssentinal.incidents.services import FIELDS, NUMBER_MAX, assignable
from opssentinal.workspace.models import User

_ANY: list[tuple[str, str]] = [("", "Any")]


class _AccountField(forms.ModelChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.name} ({obj.email})" if obj.name else obj.email


class FilterForm(forms.Form):
    """Which incidents to list; what cannot be understood filters nothing."""

    q = forms.CharField(label="Title", required=False, max_length=TITLE_MAX)
    severity = forms.ChoiceField(choices=_ANY + Severity.choices, required=False)
    assignee = forms.ChoiceField(required=False)
    status = forms.ChoiceField(choices=_ANY + Status.choices, required=False, widget=forms.HiddenInput)
    before = forms.IntegerField(required=False, min_value=1, max_value=NUMBER_MAX, widget=forms.HiddenInput)

    def __init__(self, *args: Any, user: User, **options: Any) -> None:
        super().__init__(*args, **options)
        accounts = [(str(each.pk), str(each)) for each in assignable() if each.pk != user.pk]
        choices = [*_ANY, (str(user.pk), "Me"), (str(UNASSIGNED), "Nobody"), *accounts]
        self.fields["assignee"].choices = choices  # type: ignore[attr-defined]

    def wanted(self) -> Wanted:
        """What the form asks for."""
        self.is_valid()
        chosen = self.cleaned_data
        assignee = chosen.get("assignee")
        return Wanted(
            chosen.get("status", ""),
            chosen.get("severity", ""),
            int(assignee) if assignee else None,
            chosen.get("q", ""),
        )


class _IncidentForm(forms.Form):
    title = forms.CharField(max_length=TITLE_MAX)
    severity = forms.ChoiceField(choices=Severity.choices, initial=Severity.MEDIUM)
    assignee = _AccountField(queryset=User.objects.none(), required=False, empty_label="Nobody")
    # `strip` would eat the indentation of a first line; the service does what is needed.
    description = forms.CharField(
        required=False, strip=False, max_length=TEXT_MAX, widget=forms.Textarea(attrs={"rows": 6})
    )

    def __init__(self, *args: Any, incident: Incident | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        # Whoever has it keeps it, even if nothing could be given to them any more.
        present = Q(pk=incident.assignee_id) if incident is not None else Q(pk=None)
        accounts = User.objects.filter(Q(pk__in=assignable().values("pk")) | present).order_by("name", "email")
        self.fields["assignee"].queryset = accounts  # type: ignore[attr-defined]


class NewIncidentForm(_IncidentForm):
    """What an incident is opened with."""

    tenant = forms.CharField(
        max_length=TENANT_MAX,
        required=False,
        help_text="If set, API keys of this tenant see the incident too; only events of the tenant can be attached.",
    )
    event = forms.IntegerField(required=False, min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    def __init__(self, *args: Any, user: User, **options: Any) -> None:
        super().__init__(*args, **options)
        self._may_choose_tenant = user.is_admin
        if not user.is_admin:
            del self.fields["tenant"]

    def clean(self) -> dict[str, Any]:
        """Refuse a tenant from whom the form asks for none: what it says would be shown to the tenant's keys."""
        if not self._may_choose_tenant and self.data.get("tenant"):
            self.add_error(None, "Only an admin can show an incident to a tenant.")
        return self.cleaned_data


class EditForm(_IncidentForm):
    """Every field of an incident, and the version that was on the page when it was filled in."""

    status = forms.ChoiceField(choices=Status.choices)
    version = forms.IntegerField(min_value=1, max_value=NUMBER_MAX, widget=forms.HiddenInput)
    field_order = ("status", "severity", "assignee", "title", "description")

    def clean(self) -> dict[str, Any]:
        """Say above the form what is wrong with a field that cannot be seen."""
        if "version" in self.errors:
            self.add_error(None, "This form was not complete. Nothing has been changed: load the page again.")
        return self.cleaned_data

    @classmethod
    def showing(cls, incident: Incident) -> EditForm:
        """The form with the incident as it is."""
        initial = {field: getattr(incident, field) for field in FIELDS} | {"version": incident.version}
        return cls(initial=initial, incident=incident)

    def changes(self) -> dict[str, Any]:
        """The fields of a valid form."""
        return {field: self.cleaned_data[field] for field in FIELDS}


class NoteForm(forms.Form):
    """A note to add."""

    note = forms.CharField(strip=False, max_length=TEXT_MAX, widget=forms.Textarea(attrs={"rows": 3}))


class AttachForm(forms.Form):
    """An event to attach, named by its place in the log or its id."""

    event = forms.CharField(
        label="Event", max_length=36, help_text="Its place in the log or its id; both are on the event’s page."
    )


class ChooseForm(forms.Form):
    """The incident to attach an event to."""

    number = forms.IntegerField(
        label="Incident",
        min_value=1,
        max_value=NUMBER_MAX,
        help_text="The number of the incident, such as 42.",
    )
