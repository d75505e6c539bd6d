"""/readyz tells a balancer whether events can be recorded, not only whether pages can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from opssentinal.errors import IntegrityError
from opssentinal.ledger.sequencer import Sequencer
from tests.ledger.conftest import make_event, reset_head


@pytest.fixture
def sequencer(transactional_db: None) -> Iterator[Sequencer]:
    """This process's sequencer, over an empty log."""
    reset_head()
    sequencer = Sequencer()
    sequencer.start()
    yield sequencer
    sequencer.stop()
    reset_head()


def ready() -> tuple[int, dict[str, object]]:
    """What /readyz answers."""
    answer = Client().get("/readyz")
    return answer.status_code, json.loads(answer.content)


def test_ready_while_events_can_be_recorded(sequencer: Sequencer) -> None:
    """A server whose sequencer runs is ready, and says how much waits."""
    sequencer.submit([make_event()]).result(20)
    status, said = ready()
    assert (status, said["ready"], said["ledger"]) == (200, True, {"size": 1, "waiting": 0})


def test_not_ready_once_the_ledger_is_damaged(sequencer: Sequencer) -> None:
    """After damage nothing is recorded any more, although the log can still be read: 503 with the reason."""
    sequencer.submit([make_event()]).result(20)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_head SET size = 2")
    with pytest.raises(IntegrityError) as damage:
        sequencer.submit([make_event(1)]).result(20)
    status, said = ready()
    assert (status, said["ready"]) == (503, False)
    assert str(damage.value) in str(said)


@pytest.mark.django_db(transaction=True)
def test_a_process_without_a_sequencer_is_ready() -> None:
    """Where nothing is to be recorded by a sequencer, reading the log is all there is to promise."""
    reset_head()
    assert ready()[0] == 200


SECRET = 'connection to server at "db.internal" (10.1.2.3), port 5432 failed'


@pytest.mark.django_db(transaction=True)
def test_strangers_do_not_learn_where_the_database_is(caplog: pytest.LogCaptureFixture) -> None:
    """What the database said when it could not be read stands in the server's log and not in the answer."""
    reset_head()

    def refuse(execute: Any, sql: str, *rest: Any) -> Any:
        if "ledger_head" in sql:
            raise OperationalError(SECRET)
        return execute(sql, *rest)

    with connection.execute_wrapper(refuse):
        status, said = ready()
    assert (status, said) == (503, {"ready": False, "ledger": "The ledger cannot be read; the server's log says why."})
    assert SECRET in caplog.text


def test_strangers_do_not_learn_why_it_cannot_write(
    sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor what the database said when it could not be written."""
    health = sequencer.health()._replace(failure=f"The ledger cannot be written: {SECRET}.")
    monkeypatch.setattr(sequencer, "health", lambda: health)
    status, said = ready()
    assert (status, said["ready"]) == (503, False)
    assert "10.1.2.3" not in str(said)
    assert SECRET in caplog.text
