"""The provider, the workspace that trusts it, and a browser that goes from one to the other and back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.test import Client
from pytest_django import Settings

from opssentinal.config import load
from opssentinal.events.model import Actor, Context
from opssentinal.sso import configuration
from opssentinal.sso.claims import Rule
from opssentinal.sso.models import OIDCProvider
from opssentinal.workspace.models import User
from tests.sso.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIDProvider
from tests.workspace.conftest import alice, bob, broken_ledger, browser, sign_in, workspace

__all__ = ["alice", "bob", "broken_ledger", "workspace"]

START = "/accounts/sso/1/"
PAGE = "/settings/single-sign-on/"
CONNECTION = {"name": "Keycloak", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scopes": "openid email"}


@pytest.fixture(autouse=True)
def _operator(workspace: None, settings: Settings) -> None:
    """The operator permits requests to the loopback address, where the provider is."""
    environment = {"OPSSENTINAL_DATA_DIR": os.environ["OPSSENTINAL_DATA_DIR"]}
    settings.CONFIG = load(environment | {"OPSSENTINAL_OUTBOUND_ALLOW": "127.0.0.1/32"})


@pytest.fixture
def op() -> Iterator[OpenIDProvider]:
    """A provider that behaves."""
    with OpenIDProvider() as provider:
        yield provider


def connect(op: OpenIDProvider, **changes: str) -> OIDCProvider:
    """Enter the connection, as the page does."""
    return configuration.save_connection(_ADMIN, _HERE, **(CONNECTION | {"issuer": op.issuer} | changes))


def admit(
    *rules: tuple[str, str, str], provisions: bool = True, default_role: str = "member", domains: Any = ()
) -> None:
    """Say who may come in."""
    configuration.save_accounts(
        _ADMIN,
        _HERE,
        domains=list(domains),
        provisions=provisions,
        default_role=default_role,
        rules=[Rule(*rule) for rule in rules],
    )


def enable(*, is_required: bool = False) -> None:
    """Note a passed test and switch single sign-on on."""
    row = configuration.provider()
    assert row is not None
    configuration.record_test(_ADMIN, _HERE, row.fingerprint, {}, passed=True)
    configuration.switch(_ADMIN, _HERE, is_enabled=True, is_required=is_required)


@pytest.fixture
def sso(op: OpenIDProvider, alice: User) -> OpenIDProvider:
    """Single sign-on is on, creates members, and Alice is an admin with a password."""
    connect(op)
    admit()
    enable()
    return op


def visitor(ip: str = "203.0.113.9") -> Client:
    """A browser at the product's public address."""
    return browser(ip, HTTP_HOST="127.0.0.1:8000")


def admin() -> Client:
    """Alice's browser, signed in with her password."""
    client = visitor()
    assert sign_in(client).status_code == 302
    return client


def leaving_to(response: Any) -> str:
    """The address that a page sends the browser on to."""
    assert response.status_code == 200, response.content.decode()
    return str(response["Refresh"]).removeprefix("0;url=")


def at_provider(url: str) -> str:
    """Sign in at the provider; return the path and query that the browser comes back to."""
    answer = requests.get(url, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    parts = urlsplit(answer.headers["Location"])
    return f"{parts.path}?{parts.query}"


def round_trip(client: Client, start: str = START, **fields: str) -> Any:
    """From the button to the provider and back; the product's last answer."""
    return client.get(at_provider(leaving_to(client.post(start, fields))))


_ADMIN = Actor(type="user", id="user_0", name="Setup")
_HERE = Context(ip="203.0.113.1")
