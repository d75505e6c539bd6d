"""Halves of surrogate pairs: JSON can spell them, no text can hold them, and only the event that has one is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from opssentinal.errors import InvalidEvent, InvalidInput
from opssentinal.ingest.body import split

from .conftest import Client, event, sent_events

# Whatever json.dumps can write, halves of pairs among it.
texts = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=8)
values = st.recursive(texts | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(texts, inner))
objects = st.dictionaries(texts, values, max_size=4)
spaces = st.sampled_from(["", " ", "\n\t "])


def is_text(value: Any) -> bool:
    """Whether UTF-8 can hold it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.parametrize(
    "wrap",
    [
        lambda items: (json.dumps(items), "application/json"),
        lambda items: (json.dumps({"events": items}, indent=2), "application/json"),
        lambda items: ("\n".join(map(json.dumps, items)), "application/x-ndjson"),
    ],
    ids=["array", "envelope", "ndjson"],
)
def test_the_good_events_beside_it_are_kept(client: Client, wrap: Any) -> None:
    """207: the one is refused with its place and what is wrong, the others are recorded in order."""
    items = [event(message="a"), event(metadata={"note": ["x", "\ud83d half"]}), event(message="\U0001f600"), event()]
    answer = client.post(*[part.encode() if at == 0 else part for at, part in enumerate(wrap(items))])
    assert answer.status == 207
    results = answer.body["results"]
    assert [result["status"] for result in results] == ["accepted", "rejected", "accepted", "accepted"]
    assert results[1]["error"] == {
        "code": "invalid_event",
        "detail": "holds \\ud83d, half of a surrogate pair, which is no character",
        "path": "$.metadata.note[1]",
    }
    assert [recorded.message for recorded in sent_events()] == ["a", "\U0001f600", None]


def test_of_a_single_event_it_is_said_too(client: Client) -> None:
    """The place is named, and nothing is recorded."""
    answer = client.post(event(message="\udc00"))
    assert (answer.status, answer.body["results"][0]["error"]["path"]) == (207, "$.message")
    assert sent_events() == []


@given(items=st.lists(objects, min_size=1, max_size=5), space=spaces, is_wrapped=st.booleans())
def test_any_body_is_parted_where_its_events_end(items: list[Any], space: str, is_wrapped: bool) -> None:
    """Each event comes out as it went in or, if it holds half of a pair, as an error."""
    parts = f"{space},{space}".join(map(json.dumps, items))
    body = f"{space}[{space}{parts}{space}]{space}"
    if is_wrapped:
        body = f'{space}{{{space}"events"{space}:{body}}}{space}'
    for item, found in zip(items, split(body.encode(), "application/json", ""), strict=True):
        if is_text(item):
            assert isinstance(found, Raw)
            assert json.loads(bytes(found)) == item
        else:
            assert isinstance(found, InvalidEvent)


@pytest.mark.parametrize(
    "text", ['["\\ud83d", NaN]', '["\\ud83d"', '["\\ud83d"] x', '{"events": ["\\ud83d"], "x": 1}', '"\\ud83d']
)
def test_what_is_wrong_besides_refuses_the_whole_body(text: str) -> None:
    """A body that is no JSON for another reason stays one, whatever else is in it."""
    with pytest.raises(InvalidInput) as refused:
        split(text.encode(), "application/json", "")
    assert refused.value.code == "malformed_json"
