"""Django's registration of the Data retention app."""

from django.apps import AppConfig


class DataRetentionConfig(AppConfig):
    """Registers `opssentinal.retention`."""

    name = "opssentinal.retention"
    label = "retention"
    verbose_name = "Data retention"
