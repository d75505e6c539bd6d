"""Django's registration of the Web app."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    """Registers `opssentinal.web`."""

    name = "opssentinal.web"
    label = "web"
    verbose_name = "Web"
