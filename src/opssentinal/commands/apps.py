"""Django's registration of the commands app."""

from django.apps import AppConfig


class CommandsConfig(AppConfig):
    """Registers `opssentinal.commands`, so that Django finds its management commands."""

    name = "opssentinal.commands"
    label = "commands"
    verbose_name = "Commands"
