"""The ledger of the ledger's own tests."""

from tests.ledger.conftest import ledger

__all__ = ["ledger"]
