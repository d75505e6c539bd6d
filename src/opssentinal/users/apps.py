"""Django's registration of the Users app."""

from django.apps import AppConfig


class UsersConfig(AppConfig):
    """Registers `opssentinal.users`."""

    name = "opssentinal.users"
    label = "users"
    verbose_name = "Users"
