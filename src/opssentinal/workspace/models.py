"""The workspace's own rows: accounts, the one-time setup token and the stored preferences.

An account is never deleted, only switched off, and events carry snapshots of names: nothing here changes what the log shows.
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from opssentinal.workspace.text import validate_line

EMAIL_MAX = 254
NAME_MAX = 150


class Role(models.TextChoices):
    """What an account may do: an admin everything, an auditor and a member what the pages grant them."""

    ADMIN = "admin", "Admin"
    AUDITOR = "auditor", "Auditor"
    MEMBER = "member", "Member"


class UserManager(BaseUserManager["User"]):
    """Makes accounts. Records nothing: pages and commands go through `accounts.create_account`."""

    def create_user(
        self,
        email: str,
        password: str | None = None,
        *,
        name: str = "",
        role: str = Role.MEMBER,
        is_active: bool = True,
    ) -> User:
        """Save an account; without a password it cannot sign in. Raises IntegrityError if the address is taken."""
        user = self.model(email=email.strip().lower(), name=name.strip(), role=role, is_active=is_active)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser):
    """A person who signs in, by a lower-case e-mail address that is nobody else's."""

    email = models.EmailField(max_length=EMAIL_MAX, unique=True)
    name = models.CharField(max_length=NAME_MAX, blank=True, default="")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.MEMBER)
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)  # from then on nobody signs in; null: never
    # What an auditor may see of the log: events that occurred from `log_from` (inclusive) until `log_until` (exclusive).
    log_from = models.DateTimeField(null=True, blank=True)
    log_until = models.DateTimeField(null=True, blank=True)
    # Until then the one-time link to set a password works (`workspace.links`); null: there is none.
    link_expires_at = models.DateTimeField(null=True, blank=True, editable=False)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        """Addresses are compared in lower case, so they are stored so; the database insists on it."""

        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(email=Lower("email")), name="workspace_user_email_lower"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="workspace_user_role"),
        ]

    def __str__(self) -> str:
        return self.name or self.email

    def clean(self) -> None:
        """What no single field can tell."""
        super().clean()
        faults: dict[str, list[ValidationError] | str] = {}
        # Django takes invisible characters, and those that turn the reading direction, for letters of a domain.
        for field, text in (("name", self.name), ("email", self.email)):
            try:
                validate_line(text)
            except ValidationError as error:
                faults[field] = error.error_list
        if self.log_from and self.log_until and self.log_from >= self.log_until:
            faults["log_until"] = "The period must end after it begins."
        if faults:
            raise ValidationError(faults)

    @property
    def is_admin(self) -> bool:
        """Whether the account may do everything, such as change the workspace."""
        return self.role == Role.ADMIN

    @property
    def is_expired(self) -> bool:
        """Whether the account's time is over."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def can_sign_in(self) -> bool:
        """Whether the account is switched on and its time is not over; asked at every request, by sessions and API keys."""
        return self.is_active and not self.is_expired


class SetupToken(models.Model):
    """The one row that opens /setup while there is no account. Deleting it is what closes /setup, exactly once."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    token = models.CharField(max_length=64)

    class Meta:
        """One row at most."""

        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(id=1), name="workspace_setuptoken_single")]

    def __str__(self) -> str:
        return "setup token"


class StoredPreferences(models.Model):
    """The one row of preferences that differ from their defaults; `preferences.Preferences` is its meaning."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    chosen = models.JSONField(default=dict)
    secrets = models.JSONField(default=dict)  # name → what `encryption.encrypt` made of it

    class Meta:
        """One row at most."""

        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="workspace_storedpreferences_single")
        ]

    def __str__(self) -> str:
        return "preferences"
