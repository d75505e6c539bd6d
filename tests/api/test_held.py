"""The API answers with events under a legal hold as if nothing around them had been pruned."""

from __future__ import annotations

import time
from collections.abc import Callable

from opssentinal.ledger.pruning import prune
from opssentinal.query import parse
from tests.api.conftest import Caller, put


def test_held_events_are_read_and_pruned_ones_are_not(caller: Callable[..., Caller]) -> None:
    """By seq, by id and in recorded order; a neighbour is answered as pruned."""
    receipts = put(*(f"number {seq}" for seq in range(300)))
    prune(time.time_ns() // 1000 + 1, holds=lambda: (parse('"number 12"'),))
    program = caller()
    assert program.get("/events/12").json_["message"] == "number 12"
    assert program.get(f"/events/{receipts[120].id}").json_["seq"] == 120
    assert program.get("/events/13").status_code == 404
    assert program.get("/events/13").json_["code"] == "pruned"
    assert program.get(f"/events/{receipts[13].id}").status_code == 404
    page = program.get("/events?after_seq=-1&limit=11").json_
    expected = [12, *range(120, 130)]
    assert [event["seq"] for event in page["data"]] == expected
    page = program.get(f"/events?after_seq={page['next_after_seq']}&limit=3").json_
    assert [event["seq"] for event in page["data"]] == [256, 257, 258]
