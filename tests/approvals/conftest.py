"""Alice and Carol are admins, Bob is a member; and a kind of change that can be seen to have happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.test import Client

from opssentinal.approvals import services
from opssentinal.approvals.models import Approval
from opssentinal.errors import Conflict
from opssentinal.events.model import Context, RecordedEvent
from opssentinal.ledger.reader import newest
from opssentinal.ledger.recording import recording
from opssentinal.workspace.models import User
from opssentinal.workspace.preferences import change_preferences, preferences
from opssentinal.workspace.principals import user_actor
from tests.ledger.conftest import ledger

__all__ = ["ledger"]

PASSWORD = "correct horse battery"
KIND = "tests.rename"


def foresee(approval: Approval) -> str:
    """What is said of it before it is decided."""
    if preferences().workspace_name != approval.payload["before"]:
        raise Conflict("It has another name now.")
    return f"Now it is called {preferences().workspace_name}."


def rename(record: services.Record, approval: Approval, context: Context) -> None:
    """The change of these tests: another name of the workspace."""
    foresee(approval)
    actor = user_actor(approval.requested_by)
    change_preferences(record, actor, context, "general", workspace_name=approval.payload["after"])


@pytest.fixture(autouse=True)
def kind() -> Iterator[None]:
    services.register(KIND, rename, foresee)
    yield
    del services._executors[KIND], services._foresights[KIND]


@pytest.fixture
def alice(ledger: Callable[[], None]) -> User:
    return User.objects.create_user("alice@example.com", PASSWORD, name="Alice", role="admin")


@pytest.fixture
def carol(ledger: Callable[[], None]) -> User:
    return User.objects.create_user("carol@example.com", PASSWORD, name="Carol", role="admin")


@pytest.fixture
def bob(ledger: Callable[[], None]) -> User:
    return User.objects.create_user("bob@example.com", PASSWORD, name="Bob")


def ask(user: User, after: str = "Acme", subject: str = "") -> Approval:
    with recording() as record:
        return services.ask(
            record, KIND, f"Call it {after}", {"before": preferences().workspace_name, "after": after}, user=user,
            context=Context(), subject=subject,
        )  # fmt: skip


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def recorded(prefix: str = "") -> list[RecordedEvent]:
    """The log's events, oldest first."""
    return [event for event in reversed(newest(1000)) if event.action.startswith(prefix)]
