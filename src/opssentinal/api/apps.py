"""Django's registration of the API app, whose reference page has a template."""

from django.apps import AppConfig


class APIConfig(AppConfig):
    """Registers `opssentinal.api`."""

    name = "opssentinal.api"
    label = "api"
    verbose_name = "API"
