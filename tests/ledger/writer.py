"""A writer process for test_two_writers: appends on the database named on its command line, ids shared with the others."""

from __future__ import annotations

import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "opssentinal.settings"

from opssentinal import settings

settings.DATABASES["default"]["NAME"] = sys.argv[1]

import django

django.setup()

from django.db import connection

from opssentinal.ledger.recording import recording
from opssentinal.ledger.sequencer import Sequencer
from tests.ledger.conftest import make_event, uuid


def main(writer: int, commits: int) -> None:
    """Append `commits` times through a sequencer and as often in transactions of their own."""
    sequencer = Sequencer()
    sequencer.start()
    futures = []
    for n in range(commits):
        own = [make_event(writer * 10_000 + n * 10 + k) for k in range(5)]
        shared = make_event(1_000_000 + n, id=uuid(n))
        futures.append(sequencer.submit([*own, shared]))
        with recording() as record:
            record(make_event(writer * 10_000 + n * 10 + 9))
    for future in futures:
        statuses = [receipt.status for receipt in future.result(60)]
        assert statuses[:5] == ["accepted"] * 5
        assert statuses[5] in ("accepted", "duplicate")
    sequencer.stop()
    connection.close()


if __name__ == "__main__":
    main(int(sys.argv[2]), int(sys.argv[3]))
