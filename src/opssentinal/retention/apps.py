"""Django's registration of the Data retention app."""

from django.apps import AppConfig


class DataRetentionConfig(AppConfig):
    """Registers `opssentinal.retention`."""

    name = "opssentinal.retention"
    label = "retention"
    verbose_name = "Data retention"

    def ready(self) -> None:
        """Say what carries out what a second admin approved."""
        from opssentinal.approvals import services as approvals
        from opssentinal.retention import changes, holds

        approvals.register(changes.APPROVAL_KIND, changes.execute_approved, changes.foresee)
        approvals.register(holds.APPROVAL_KIND, holds.execute_approved, holds.foresee)
