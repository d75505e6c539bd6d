"""Django's registration of the Approvals app."""

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Registers `opssentinal.approvals`."""

    name = "opssentinal.approvals"
    label = "approvals"
    verbose_name = "Approvals"

    def ready(self) -> None:
        """Follow who is an admin."""
        from opssentinal.approvals import terms

        terms.connect()
