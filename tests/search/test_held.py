"""Held events stay in search when their neighbours are pruned, come back with a new index, and go when they are let go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opssentinal.config import Config
from opssentinal.events.model import Actor
from opssentinal.ledger import pruning
from opssentinal.query import Filter, parse
from opssentinal.search.client import SearchClient
from opssentinal.search.duckdb import DuckDBStore
from tests.ledger.conftest import NOW_US, commit
from tests.search.conftest import is_clean, running, until
from tests.search.events import bundle_of, event, many
from tests.search.test_feed import equals_ledger

pytestmark = pytest.mark.usefixtures("ledger")

MALLORY = Actor(type="user", id="usr_mallory", name="Mallory")
SECRET = "Zacharias-Quarrington"


def fill() -> None:
    """700 events, five of them Mallory's; of the last 188 none is old enough to be pruned."""
    kept = (0, 10, 11, 255, 511)
    for first in (0, 300, 512):
        seqs = range(first, {0: 300, 300: 512, 512: 700}[first])
        at = NOW_US + (10_000_000 if first == 512 else 0)
        commit(
            [event(seq, message=SECRET * 20, **({"actor": MALLORY} if seq in kept else {})) for seq in seqs],
            at,
        )


def prune(*queries: str) -> None:
    pruning.prune(NOW_US + 1, holds=lambda: tuple(map(parse, queries)))


def seqs(client: SearchClient, query: str) -> list[int]:
    return [each.seq for each in client.page(parse(query), limit=1000, order="oldest").events]


def test_search_keeps_what_is_held(config: Config, tmp_path: Path) -> None:
    """At work, after a restart, in a new index, and in an export; and what is let go is forgotten, bytes and all."""
    fill()
    with running(config) as (_, client):
        assert client.extent(Filter()).count == 700
        prune("actor:usr_mallory")
        equals_ledger(client)
        assert sorted(seqs(client, "actor:usr_mallory")) == [0, 10, 11, 255, 511]
        assert client.extent(Filter()).count == 188 + 5
    with running(config) as (back, client):
        equals_ledger(client)
        assert not back.index.store.minimum_index % 256
    config.search_path.unlink()
    with running(config) as (_, client):
        equals_ledger(client)
        client.reindex(lambda done, total: None)
        equals_ledger(client)
        exported = tmp_path / "held.jsonl"
        client.export(parse("actor:usr_mallory"), None, "jsonl", exported)
        assert {json.loads(line)["seq"] for line in exported.read_text().splitlines()} == {0, 10, 11, 255, 511}
        commit(many(50), NOW_US + 20_000_000)
        equals_ledger(client)


def test_what_is_let_go_is_forgotten(config: Config) -> None:
    """Although the minimum index does not move; its bytes are not in the file any more; not even if the back was down."""
    commit([event(seq, message=f"{SECRET} {seq}" * 20) for seq in range(256)], NOW_US)
    commit(many(100), NOW_US + 10_000_000)
    with running(config) as (_, client):
        prune(f'"{SECRET}"')
        equals_ledger(client)
        assert client.extent(Filter()).count == 356
        prune(f'"{SECRET} 7"')
        equals_ledger(client)
        assert 0 < client.extent(Filter()).count - 100 < 256
    prune()
    with running(config) as (back, client):
        equals_ledger(client)
        assert client.extent(Filter()).count == 100
        until(lambda: is_clean(back))
    assert SECRET.encode() not in config.search_path.read_bytes()


def test_an_index_with_held_events_is_sound(tmp_path: Path) -> None:
    """However few events lie between its minimum index and its position."""
    store = DuckDBStore(tmp_path / "index")
    store.ingest([bundle_of(many(300))])
    assert store.forget(256, range(0, 256, 2)) == 128
    assert store.forget(256, range(0, 256, 2)) == 0
    store.close()
    again = DuckDBStore(tmp_path / "index")
    assert [again.position, again.rows(), again.minimum_index] == [300, 128 + 44, 256]
    assert again.forget(300, [4, 299]) == 127 + 43
    again.close()
