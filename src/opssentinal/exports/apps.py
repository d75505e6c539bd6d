"""Django's registration of the Exports app."""

from django.apps import AppConfig


class ExportsConfig(AppConfig):
    """Registers `opssentinal.exports`."""

    name = "opssentinal.exports"
    label = "exports"
    verbose_name = "Exports"
