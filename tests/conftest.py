"""Which tests run on every database that is supported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chromium import browser  # noqa: F401

_HERE = Path(__file__).parent

# Rooms whose tests meet the database; scripts/test runs them on PostgreSQL too.
_ON_EVERY_DATABASE = (
    "access",
    "ledger",
    "followers",
    "search",
    "workspace",
    "apikeys",
    "approvals",
    "ingest",
    "api",
    "exports",
    "retention",
    "sso",
    "imports",
    "incidents",
    "users",
    "integrations",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run on every database, by their room."""
    for item in items:
        if item.path.relative_to(_HERE).parts[0] in _ON_EVERY_DATABASE:
            item.add_marker(pytest.mark.database)
