"""The forms of Settings → Single sign-on."""

from __future__ import annotations

import re
from typing import Any

from django import forms

from opssentinal.sso.claims import Rule
from opssentinal.sso.configuration import ACCOUNTS, CONNECTION, RULES_MAX, version
from opssentinal.sso.models import DEFAULT_SCOPES, ISSUER_MAX, OIDCProvider
from opssentinal.workspace.models import Role
from opssentinal.workspace.settings_forms import SettingsForm

# A name of the DNS, in the form that addresses carry it.
_DOMAIN = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
# RFC 6749, Section 3.3.
_SCOPES = re.compile(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*")
NO_ROLE = "none"
_SPARE_RULES = 3


class ConnectionForm(SettingsForm):
    """Where the provider is and as whom we talk to it. The secret is never shown: an empty field keeps it."""

    name = forms.CharField(
        max_length=40, help_text="For the button: Sign in with <em>Keycloak</em>.", widget=forms.TextInput
    )
    issuer = forms.CharField(
        max_length=ISSUER_MAX,
        widget=forms.URLInput(attrs={"placeholder": "https://id.example.com/realms/staff"}),
        help_text="The provider’s issuer URL, exactly. Saving fetches <code>/.well-known/openid-configuration</code> below it.",
    )
    client_id = forms.CharField(
        label="Client ID", max_length=255, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    client_secret = forms.CharField(
        max_length=500,
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    scopes = forms.CharField(
        max_length=500,
        initial=DEFAULT_SCOPES,
        help_text="Separated by spaces; openid is needed. Some providers give groups only for a scope such as groups.",
    )

    def __init__(self, *args: Any, has_secret: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        secret = self.fields["client_secret"]
        secret.required = not has_secret
        secret.help_text = "Stored encrypted and never shown." + (" Leave empty to keep it." if has_secret else "")

    @classmethod
    def showing(cls, row: OIDCProvider | None) -> ConnectionForm:
        """The form with the connection as it is."""
        row = row or OIDCProvider()
        shown = {name: getattr(row, name) for name in CONNECTION}
        return cls(initial=shown | {"seen": version(row, CONNECTION)}, has_secret=bool(row.client_secret))

    def clean_scopes(self) -> str:
        """Each once, openid among them: without it there is no ID token."""
        scopes = " ".join(dict.fromkeys(self.cleaned_data["scopes"].split()))
        if not _SCOPES.fullmatch(scopes):
            raise forms.ValidationError("A scope has a character that scopes may not have.")
        if "openid" not in scopes.split():
            raise forms.ValidationError("The scope openid is needed.")
        return scopes


class AccountsForm(SettingsForm):
    """Who may come in, and with which role if no rule says another."""

    domains = forms.CharField(
        label="Allowed e-mail domains",
        required=False,
        max_length=5_000,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="Such as <code>example.com</code>; one per line. Empty allows all that the provider vouches for.",
    )
    provisions = forms.BooleanField(
        label="Create accounts on first sign-in",
        required=False,
        help_text="Otherwise only those sign in who have an account with the same verified address.",
    )
    default_role = forms.ChoiceField(
        label="Role without a matching rule",
        choices=[*Role.choices, (NO_ROLE, "None: refuse the sign-in")],
    )

    @classmethod
    def showing(cls, row: OIDCProvider) -> AccountsForm:
        """The form with what is in force."""
        return cls(
            initial={
                "domains": "\n".join(row.domains),
                "provisions": row.provisions,
                "default_role": row.default_role or NO_ROLE,
                "seen": version(row, ACCOUNTS),
            }
        )

    def clean_default_role(self) -> str:
        """None is stored as nothing."""
        chosen = str(self.cleaned_data["default_role"])
        return "" if chosen == NO_ROLE else chosen

    def clean_domains(self) -> list[str]:
        """In lower case, each once."""
        domains = list(dict.fromkeys(self.cleaned_data["domains"].lower().replace(",", " ").split()))
        for domain in domains:
            if not _DOMAIN.fullmatch(domain):
                raise forms.ValidationError(f"“{domain}” is not a domain, such as example.com.")
        return domains


class RuleForm(forms.Form):
    """One rule; emptied, it is removed."""

    claim = forms.CharField(max_length=200, required=False, widget=forms.TextInput(attrs={"placeholder": "groups"}))
    value = forms.CharField(
        max_length=500, required=False, widget=forms.TextInput(attrs={"placeholder": "audit-admins"})
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.MEMBER, required=False)

    def clean(self) -> dict[str, Any]:
        """A claim without a value, or the other way round, is half a rule."""
        cleaned = super().clean() or {}
        if bool(cleaned.get("claim")) != bool(cleaned.get("value")):
            self.add_error("value" if cleaned.get("claim") else "claim", "A rule needs a claim and a value.")
        return cleaned


RuleFormSet = forms.formset_factory(
    RuleForm,
    extra=_SPARE_RULES,
    can_order=True,
    max_num=RULES_MAX,
    absolute_max=RULES_MAX + _SPARE_RULES,
    validate_max=True,
)


def rule_forms(row: OIDCProvider | None) -> Any:
    """The rules in force, and room for more."""
    return RuleFormSet(initial=row.rules if row else [], prefix="rules")


def entered_rules(rules: Any) -> list[Rule]:
    """The rules of valid forms in the order of their numbers; emptied ones are gone."""
    found = [form.cleaned_data for form in rules.ordered_forms if form.cleaned_data.get("claim")]
    return [Rule(rule["claim"], rule["value"], rule["role"] or Role.MEMBER.value) for rule in found]
