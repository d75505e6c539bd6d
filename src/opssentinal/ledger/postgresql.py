"""Django's database settings from a PostgreSQL URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from opssentinal.errors import ConfigError


def database_settings(url: str) -> dict[str, Any]:
    """Settings for `postgresql://user:password@host:port/name?sslmode=…`; query parameters go to libpq.

    Connections stay open per thread; one that was cut is noticed and replaced before the next request.
    """
    parts = urlsplit(url)
    name = unquote(parts.path.lstrip("/"))
    if not name:
        raise ConfigError(
            "OPSSENTINAL_DATABASE_URL names no database.", hint="postgresql://user:password@host:5432/name"
        )
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    host = options.pop("host", None) or parts.hostname or ""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"application_name": "opssentinal", "connect_timeout": 5} | options,
    }
