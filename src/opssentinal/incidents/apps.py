"""Django's registration of the Incidents app."""

from __future__ import annotations

from datetime import datetime

from django.apps import AppConfig


class IncidentsConfig(AppConfig):
    """Registers `opssentinal.incidents`."""

    name = "opssentinal.incidents"
    label = "incidents"
    verbose_name = "Incidents"

    def standard_cleanup(self, now: datetime) -> int:
        """Delete incidents that were closed long enough ago; return how many. The standard cleanup finds this by the app."""
        from opssentinal.incidents.cleanup import delete_closed

        return delete_closed(now)

    def standard_cleanup_preview(self, now: datetime) -> int:
        """How many incidents `standard_cleanup` would delete."""
        from opssentinal.incidents.cleanup import long_closed

        return long_closed(now).count()
