"""What must be true of a server after whatever was done to it: nothing acknowledged lost, one log, one search."""

from __future__ import annotations

import json

from tests.crash.clients import Acknowledged
from tests.server import ServerProcess


def check_everything(server: ServerProcess, read: str, acknowledged: Acknowledged) -> dict[int, dict[str, object]]:
    """Every acknowledged event is recorded once at its place, the log has no gap, search has the same events, fsck is clean.

    The server runs. Returns the recorded events by seq.
    """
    assert acknowledged.contradictions == []
    server.wait_for_search()
    events = recorded(server)
    for id_, seq in acknowledged.seqs.items():
        assert events[seq]["id"] == id_
    ids = [event["id"] for event in events.values()]
    assert len(ids) == len(set(ids))
    assert _without_views(searched(server, read)) == _without_views(recorded(server))
    assert json.loads(server.command("fsck", "--json").stdout)["problems"] == []
    print(f"{len(acknowledged.seqs)} acknowledged")  # for the record of a long run
    return events


def _without_views(events: dict[int, dict[str, object]]) -> dict[int, dict[str, object]]:
    """Without the records that somebody looked, which each look may add while it looks."""
    return {seq: event for seq, event in events.items() if event["action"] != "audit_log.viewed"}


def recorded(server: ServerProcess) -> dict[int, dict[str, object]]:
    """Every event as `opssentinal tail` reads it from the ledger, by seq; they must be gapless, and none twice."""
    lines = server.command("tail", "--limit", "100000000", "--json").stdout.splitlines()
    events = {event["seq"]: event for event in map(json.loads, lines)}
    assert sorted(events) == list(range(len(lines)))
    return events


def searched(server: ServerProcess, token: str) -> dict[int, dict[str, object]]:
    """Every event as search gives it, page by page, by seq; none may come twice."""
    found: dict[int, dict[str, object]] = {}
    cursor = ""
    while True:
        page = server.api(f"/api/v1/events?limit=1000{cursor}", token)
        assert not {event["seq"] for event in page["data"]} & found.keys()
        found |= {event["seq"]: event for event in page["data"]}
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"
