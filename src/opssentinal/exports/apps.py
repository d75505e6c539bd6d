"""Django's registration of the Exports app."""

from __future__ import annotations

from datetime import datetime

from django.apps import AppConfig


class ExportsConfig(AppConfig):
    """Registers `opssentinal.exports`."""

    name = "opssentinal.exports"
    label = "exports"
    verbose_name = "Exports"

    def standard_cleanup(self, now: datetime) -> int:
        """Delete the files of exports whose time is over; return how many. The standard cleanup finds this by the app."""
        from opssentinal.exports.services import expire_exports

        return expire_exports(now)

    def standard_cleanup_preview(self, now: datetime) -> int:
        """How many files `standard_cleanup` would delete."""
        from opssentinal.exports.services import expired_exports

        return expired_exports(now).count()
