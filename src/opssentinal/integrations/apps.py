"""Django's registration of the Integrations app."""

from __future__ import annotations

from datetime import datetime

from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    """Registers `opssentinal.integrations`."""

    name = "opssentinal.integrations"
    label = "integrations"
    verbose_name = "Integrations"

    def standard_cleanup(self, now: datetime) -> int:
        """Delete deliveries that ended long enough ago; return how many. The standard cleanup finds this by the app."""
        from opssentinal.integrations.deliveries import delete_old

        return delete_old(now)

    def standard_cleanup_preview(self, now: datetime) -> int:
        """How many deliveries `standard_cleanup` would delete."""
        from opssentinal.integrations.deliveries import old

        return old(now).count()
