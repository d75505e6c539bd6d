"""Django's registration of the Approvals app."""

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Registers `opssentinal.approvals`."""

    name = "opssentinal.approvals"
    label = "approvals"
    verbose_name = "Approvals"
