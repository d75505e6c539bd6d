"""Django's registration of the API keys app."""

from django.apps import AppConfig


class APIKeysConfig(AppConfig):
    """Registers `opssentinal.apikeys`."""

    name = "opssentinal.apikeys"
    label = "apikeys"
    verbose_name = "API keys"
