"""Sentences, and the spelling of text that came from outside."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opssentinal.events.catalogue import EVENT_TYPES
from opssentinal.events.decoding import decode_event
from opssentinal.events.model import Actor, Event, Target
from opssentinal.events.sentences import sentence, visible


def said(event: Event) -> str:
    return sentence(event.action, event.outcome, event.actor, event.targets, event.changes, event.message)


def test_each_type_has_its_sentence() -> None:
    """Every declared type says who did what to whom, with nothing left unfilled."""
    for kind in EVENT_TYPES.values():
        text = said(decode_event(json.dumps(kind.example).encode()))
        assert text.startswith("Alice ")
        assert "{" not in text


def test_a_role_change_says_both_roles() -> None:
    """The most asked question is answered in the sentence itself."""
    event = decode_event(json.dumps(EVENT_TYPES["user.role_changed"].example).encode())
    assert said(event) == "Alice changed the role of Bob from member to admin"


def test_an_undeclared_action_uses_its_message_or_its_name() -> None:
    """Callers' own actions read well too."""
    actor = Actor(type="user", id="1", name="Alice")
    assert sentence("invoice.paid", "success", actor, [], [], "Alice paid invoice 7") == "Alice paid invoice 7"
    assert sentence("invoice.paid", "denied", actor, [], []) == "Alice: invoice paid (denied)"
    table = Target(type="route_table", id="rtb-1")
    assert (
        sentence("ec2.describe_route_tables", "success", actor, [table], [])
        == "Alice: ec2 describe route tables – rtb-1"
    )


def test_braces_in_names_are_only_braces() -> None:
    """A name that looks like a placeholder is shown as it is."""
    assert (
        sentence("login.success", "success", Actor(type="user", id="1", name="{target}"), [], [])
        == "{target} signed in"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本", "plain é 日本"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("line\r\nforged", "line\\x0d\\x0aforged"),
        ("abc\u202edcba", "abc\\u202edcba"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("sep\u2028arated", "sep\\u2028arated"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("no\u00a0break", "no break"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("c1\x9b", "c1\\x9b"),
    ],
)
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    """Nothing in an event can move a cursor, forge a line or turn the reading direction."""
    assert visible(text) == shown


@given(st.text())
def test_visible_text_is_printable(text: str) -> None:
    """Whatever comes in, what goes out is printable but for the joiner that emoji are made with."""
    assert visible(text).replace("\u200d", "").isprintable()
