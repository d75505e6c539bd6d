"""A CSV export of any text, byte by byte and as Python's csv module reads it."""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from opssentinal.events.decoding import validate
from opssentinal.events.model import Actor, Change, Context, Event, Target
from opssentinal.query import Filter
from opssentinal.search.duckdb import DuckDBStore
from opssentinal.search.interruption import Interruption
from tests.search.csv_rows import row_of, written
from tests.search.events import bundle_of, erased, event, newest_first

# What CSV, JSON and spreadsheets give a meaning, and neighbours of it that have none.
_MEANINGFUL = "\",;\r\n\t'\\/=+-@ #|\x01\x1f\x7f\x85\u2028\ufeff\uff0b\uff0c\uff0d\uff1d\uff20\U0001f600"
_char = st.one_of(st.sampled_from(_MEANINGFUL), st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_text = st.text(_char, min_size=1, max_size=12)
_maybe = st.one_of(st.none(), _text)


def _party(kind: type[Actor | Target]) -> st.SearchStrategy[Any]:
    return st.builds(kind, type=_text, id=_text, name=_maybe, email=_maybe)


_events = st.builds(
    event,
    at=st.integers(0, 9),
    actor=_party(Actor),
    targets=st.lists(_party(Target), max_size=3),
    context=st.builds(
        Context, ip=st.sampled_from((None, "::1", "10.0.0.1")), user_agent=st.one_of(_maybe, st.just(""))
    ),
    changes=st.lists(st.builds(Change, field=_text, before=_maybe, after=_maybe), max_size=2),
    metadata=st.dictionaries(_text, _maybe, max_size=2),
    message=st.one_of(_maybe, st.just("")),
    tenant=_maybe,
).map(validate)


@given(log=st.lists(_events, min_size=1, max_size=5), erased_who=st.booleans())
@example(
    log=[event(actor=Actor(char, char), tenant=char + "x", message="x" + char) for char in _MEANINGFUL],
    erased_who=False,
)
@settings(deadline=None)
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, log: list[Event], erased_who: bool) -> None:
    """Python's csv module reads every cell as the guide tells it, JSON as the API does; the bytes have no quote too many."""
    folder = tmp_path_factory.mktemp("csv")
    bundle = erased(bundle_of(log), {0} if erased_who else set(), set())
    with closing(DuckDBStore(folder / "index")) as store:
        store.ingest([bundle])
        path = folder / "out.csv"
        made = store.export(Filter(), None, "csv", path, False, lambda _: None, Interruption())
    content = path.read_bytes()
    wanted = newest_first(list(bundle.events()))
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    assert made.rows == len(rows) == len(wanted)
    for row, each in zip(rows, wanted, strict=True):
        api = json.loads(msgspec.json.encode(each))
        assert [json.loads(cell) for cell in row[13:16]] == [api["targets"], api["changes"], api["metadata"]]
        assert row == row_of(each, row[13:16])
    assert content.decode() == "".join(",".join(map(written, row)) + "\r\n" for row in (header, *rows))
