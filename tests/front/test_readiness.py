"""/readyz tells a balancer whether events can be recorded, not only whether pages can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from django.db import connection
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
