"""The provider as an admin has set it up, and which of its subjects is which account.

allauth's own tables stay empty: its `SocialApp` keeps the secret in the clear, and its `SocialAccount` keeps all that the
provider says of a person, and knows a subject by our name of the provider instead of by the issuer.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from opssentinal.sso.claims import Rule
from opssentinal.sso.id_token import SUBJECT_MAX
from opssentinal.workspace.models import Role

ISSUER_MAX = 255
DEFAULT_SCOPES = "openid profile email"


class OIDCProvider(models.Model):
    """An OpenID provider. There is one row (1) today; nothing but the page counts on that.

    `tested` is the fingerprint of the connection that last passed a test: a change of issuer, client or scopes makes
    another, and then the provider cannot be switched on. A role of "" is none: who gets it may not sign in.
    """

    name = models.CharField(max_length=40, default="")
    issuer = models.CharField(max_length=ISSUER_MAX, default="")
    client_id = models.CharField(max_length=255, default="")
    client_secret = models.TextField(default="")  # as `encryption.encrypt` made it
    scopes = models.CharField(max_length=500, default=DEFAULT_SCOPES)
    domains = models.JSONField(default=list)
    provisions = models.BooleanField(default=False)
    default_role = models.CharField(max_length=16, choices=Role.choices, blank=True, default=Role.MEMBER)
    rules = models.JSONField(default=list)  # of {claim, value, role}, the first that matches counts
    is_enabled = models.BooleanField(default=False)
    is_required = models.BooleanField(default=False)  # while enabled, only admins keep signing in with passwords
    tested = models.CharField(max_length=64, blank=True, default="")
    tested_at = models.DateTimeField(null=True, blank=True)
    tested_by = models.CharField(max_length=320, blank=True, default="")

    class Meta:
        """Roles are those there are, or none."""

        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(default_role__in=["", *Role.values]), name="sso_default_role")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def event_id(self) -> str:
        """How events call it."""
        return f"oidc_{self.pk}"

    @property
    def role_rules(self) -> list[Rule]:
        """The rules in their order."""
        return [Rule(rule["claim"], rule["value"], rule["role"]) for rule in self.rules]

    @property
    def fingerprint(self) -> str:
        """What stands for the connection as it is: issuer, client, secret and scopes."""
        connection: list[Any] = [self.issuer, self.client_id, self.client_secret, self.scopes]
        return salted_hmac("opssentinal.sso.connection", json.dumps(connection), algorithm="sha256").hexdigest()

    @property
    def is_tested(self) -> bool:
        """Whether the connection has passed a test as it is."""
        return bool(self.issuer) and constant_time_compare(self.tested, self.fingerprint)


class Identity(models.Model):
    """A subject of an issuer that is an account here: bound once by the verified address, and from then on by this alone.

    OpenID Connect Core, Section 5.7: only issuer and subject together name a person for good; addresses change hands.
    """

    issuer = models.CharField(max_length=ISSUER_MAX)
    subject = models.CharField(max_length=SUBJECT_MAX)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="identities")
    bound_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """A subject is one account, and an account one subject of an issuer."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="sso_identity_subject"),
            models.UniqueConstraint(fields=["issuer", "user"], name="sso_identity_user"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"
