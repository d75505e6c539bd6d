"""Searches through texts in portions of time: the same events as in one question, and what was found when patience ends."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from opssentinal.query import parse
from opssentinal.search.answers import Order, Position
from opssentinal.search.duckdb import DuckDBStore, scanning
from opssentinal.search.interruption import Interruption
from tests.search.events import BEGIN, bundle_of, event

GO = Interruption()
# Events days, seconds and years apart, several of one moment, one of a wrong clock; every third speaks of a needle.
_DAYS = (0, 0, 0, 0.5, 1, 1, 2, 30, 31, 31.00001, 400, 400, 401, 1_200, 1_200.5)


@pytest.fixture
def store(tmp_path: Path) -> DuckDBStore:
    """A store with these events, in an order that is not that of their times."""
    made = DuckDBStore(tmp_path / "index", threads=1)
    given = [
        event(0, occurred_at=BEGIN + timedelta(days=days), message="a needle" if n % 3 == 0 else "hay")
        for n, days in enumerate(_DAYS)
    ]
    made.ingest([bundle_of(given[1::2] + given[::2])])
    return made


def walk(store: DuckDBStore, query: str, limit: int, order: Order) -> tuple[list[int], int]:
    """The seqs of every page, and how many pages were partial."""
    seqs: list[int] = []
    partial, after, head = 0, None, None
    while True:
        page = store.page(parse(query), limit, after, order, head, GO)
        seqs += [each.seq for each in page.events]
        partial += page.partial
        assert page.next is not None or not page.partial
        after, head = page.next, page.head
        if after is None:
            return seqs, partial


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize(
    "query", ["needle", "nowhere", "-needle", "needle after:2026-04-20", "-needle before:2027-05-01"]
)
@pytest.mark.parametrize("limit", [1, 3, 50])
@pytest.mark.parametrize("patience_s", [0.0, 60.0])
def test_portions_find_what_one_question_finds(
    store: DuckDBStore, monkeypatch: pytest.MonkeyPatch, order: Order, query: str, limit: int, patience_s: float
) -> None:
    """Every event once and in order, whether patience ends after each portion or never."""
    expected, none_partial = walk(store, query, limit, order)
    assert none_partial == 0
    monkeypatch.setattr(scanning, "PORTIONS_FROM_ROWS", 0)
    monkeypatch.setattr(scanning, "PATIENCE_S", patience_s)
    found, partial = walk(store, query, limit, order)
    assert found == expected
    assert partial == 0 or patience_s == 0.0


def test_a_partial_page_says_how_far_it_came(store: DuckDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any event it still leads on: everything from `next` on has been looked through."""
    monkeypatch.setattr(scanning, "PORTIONS_FROM_ROWS", 0)
    monkeypatch.setattr(scanning, "PATIENCE_S", 0.0)
    page = store.page(parse("nowhere"), 50, None, "newest", None, GO)
    assert page.partial and page.events == []
    assert page.next is not None
    newest = store.page(parse(""), 1, None, "newest", None, GO).events[0]
    assert page.next.occurred_at_us <= int(newest.occurred_at.timestamp() * 1e6)
    assert isinstance(page.next, Position)


def test_what_comes_after_a_question_is_found_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later and earlier than anything before it, also beside events that are forgotten meanwhile."""
    monkeypatch.setattr(scanning, "PORTIONS_FROM_ROWS", 1)
    made = DuckDBStore(tmp_path / "index", threads=1)
    assert walk(made, "", 2, "newest") == ([], 0)
    times = dict(enumerate((0, 3, -400, 900, -2, -900, 901)))
    for seq, days in times.items():
        made.ingest([bundle_of([event(0, occurred_at=BEGIN + timedelta(days=days))], seq)])
        first = 0
        if seq >= 5:
            first = 4
            made.forget(first)
        wanted = sorted(range(first, seq + 1), key=times.__getitem__)
        assert walk(made, "", 2, "oldest") == (wanted, 0)
        assert walk(made, "", 2, "newest") == (wanted[::-1], 0)
    made.close()
