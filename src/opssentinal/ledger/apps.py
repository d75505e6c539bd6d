"""Django's registration of the Ledger app."""

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """Registers `opssentinal.ledger`."""

    name = "opssentinal.ledger"
    label = "ledger"
    verbose_name = "Ledger"
