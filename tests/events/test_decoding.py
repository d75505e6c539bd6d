"""What a caller may send, and what each thing that may not be sent is answered with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opssentinal.errors import InvalidEvent
from opssentinal.events.catalogue import CATEGORIES, EVENT_TYPES, SENSITIVE_ACTIONS, actions_in
from opssentinal.events.decoding import decode_event, decode_events, is_same, same_content
from opssentinal.events.encoding import EncodedEvent, decode_recorded, draft
from opssentinal.events.model import EVENT_BYTES_MAX, Event

LEAST: dict[str, Any] = {"action": "user.created", "actor": {"type": "user", "id": "usr_1"}}


def raw(**changes: Any) -> bytes:
    return json.dumps(LEAST | changes).encode()


def test_the_least_event_is_enough() -> None:
    """Action and actor are all that must be there; the outcome is then honestly unknown."""
    event = decode_event(raw())
    assert (event.outcome, event.targets, event.id, event.occurred_at) == ("unknown", [], None, None)


def test_every_example_of_the_catalogue_is_a_valid_event() -> None:
    """What the documentation shows can be sent as it is."""
    for kind in EVENT_TYPES.values():
        assert decode_event(json.dumps(kind.example).encode()).action == kind.action


def test_the_fifteen_event_types_are_grouped() -> None:
    """The catalogue holds the product's event types in their four groups."""
    groups = {
        "authentication": {"login.success", "login.failure", "logout", "session.revoked"},
        "user_management": {"user.created", "user.updated", "user.deactivated", "user.role_changed"},
        "configuration": {"settings.updated", "integration.created", "integration.deleted", "oidc.configured"},
        "data_access": {"incident.viewed", "export.downloaded", "api_key.created"},
    }
    assert set(groups) == set(CATEGORIES)
    for category, actions in groups.items():
        assert actions <= set(actions_in(category))
    assert {"user.role_changed", "export.downloaded", "api_key.created"} <= SENSITIVE_ACTIONS


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (b"{", "$"),
        (b"[]", "$"),
        (b"\xff", "$"),
        (b'"text"', "$"),
        (b"null", "$"),
        (raw(extra=1), "$"),
        (raw(actor={"type": "user", "id": "1", "role": "admin"}), "$.actor"),
        (raw(actor={"type": "user"}), "$.actor"),
        (raw(actor={"type": "user", "id": ""}), "$.actor.id"),
        (raw(actor={"type": "user", "id": "x" * 257}), "$.actor.id"),
        (raw(actor={"type": "user", "id": 7}), "$.actor.id"),
        (raw(action="created"), "$.action"),
        (raw(action="User.Created"), "$.action"),
        (raw(action="user..created"), "$.action"),
        (raw(action="user.created\n"), "$.action"),
        (raw(outcome="ok"), "$.outcome"),
        (raw(id="7"), "$.id"),
        (raw(occurred_at="2026-01-01T00:00:00"), "$.occurred_at"),
        (raw(occurred_at="2026-01-01"), "$.occurred_at"),
        (raw(occurred_at="0001-01-01T00:00:00+14:00"), "$.occurred_at"),
        (raw(occurred_at="9999-12-31T23:59:59-14:00"), "$.occurred_at"),
        (raw(occurred_at="9996-12-31T23:59:59-00:01"), "$.occurred_at"),
        (raw(occurred_at="1970-01-01T00:00:00+00:01"), "$.occurred_at"),
        (raw(occurred_at=1_700_000_000), "$.occurred_at"),
        (raw(context={"ip": "300.1.1.1"}), "$.context.ip"),
        (raw(context={"ip": "10.0.0.0/8"}), "$.context.ip"),
        (raw(context={"api_key": "mine"}), "$.context.api_key"),
        (raw(context={"user_agent": "x" * 2049}), "$.context.user_agent"),
        (raw(targets=[{"type": "user", "id": "1"}] * 11), "$.targets"),
        (raw(targets=[{"type": "user", "id": "1"}, {"type": "user"}]), "$.targets[1]"),
        (raw(source="Not A Source"), "$.source"),
        (raw(tenant=""), "$.tenant"),
        (raw(message="a\u0000b"), "$.message"),
        (raw(metadata={"a": {"b": ["x", "\u0000"]}}), "$.metadata.a.b[1]"),
        (raw(metadata={"a\u0000": 1}), "$.metadata"),
        (raw(metadata=[1]), "$.metadata"),
        (b'{"action":"a.b","actor":{"type":"u","id":"1"},"action":"a.c"}', "$"),
        (b'{"action":"a.b","actor":{"type":"u","id":"1","id" :"2"}}', "$.actor"),
        (b'{"action":"a.b","actor":{"type":"u","id":"1"},"metadata":{"k":{"x":1,"\\u0078":2}}}', "$.metadata.k"),
        (b'{"action":"a.b","actor":{"type":"u","id":"1"},"metadata":{"x":"\\u0022:","x":2}}', "$.metadata"),
        (b'{"action":"a.b","actor":{"type":"u","id":"1"},"metadata":{"x":"\\u003a","x":2}}', "$.metadata"),
        (b'{"action":"a.b","actor":{"type":"u","id":"1"},"metadata":{"x":1e999}}', "$.metadata"),
        (b'{"action":"a.b","actor":{"type":"u","id":"1"},"metadata":{"x":1e-400}}', "$.metadata.x"),
        (b'{"action":"a.b","actor":{"type":"u","id":"1"},"metadata":{"x":%s}}' % (b"9" * 4301), "$.metadata"),
        (
            b'{"action":"a.b","actor":{"type":"u","id":"1"},"metadata":{"x":{"y":[0.0,-2.5E-0999]}}}',
            "$.metadata.x.y[1]",
        ),
        (b'{"action":"a.b","actor":{"type":"u","id":"1"},"metadata":{"x":0.%s1}}' % (b"0" * 400), "$.metadata.x"),
        (
            b'{"action":"a.b","actor":{"type":"u","id":"1"},"changes":[{"field":"f","before":0.0,"after":1e-400}]}',
            "$.changes[0].after",
        ),
        (b'{"action":"a.b","actor":{"type":"u","id":"1\xff"}}', "$.actor.id"),
        (b'{"action":"a.b","actor":{"type":"u","id":"1"},"metadata":{"x":{"a\xc0\x80":1}}}', "$.metadata.x"),
        (b'{"action":"a.b","actor":{"type":"u","id":"1"},"id":"\xed\xa0\x80"}', "$.id"),
    ],
)
def test_what_is_refused_and_where(sent: bytes, path: str) -> None:
    """Each refusal names the place, alone and within a batch, where it takes no other event with it."""
    with pytest.raises(InvalidEvent) as refusal:
        decode_event(sent)
    assert refusal.value.path.startswith(path)
    assert str(refusal.value)
    if b"{" not in sent[:1] or sent == b"{":
        return
    before, refused, after = decode_events([raw(), sent, raw(message="last")])
    assert isinstance(before, Event)
    assert isinstance(refused, InvalidEvent)
    assert refused.path == refusal.value.path
    assert isinstance(after, Event)
    assert after.message == "last"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("-9223372036854775809", -9223372036854775809),
        ("-" + "7" * 4299, -int("7" * 4299)),
        ("-0", 0),
        ("-0.0", -0.0),
        ("0e-400", 0.0),
        ("0.00E+999", 0.0),
        ("1E2", 100.0),
        ("1.50", 1.5),
        ("5e-324", 5e-324),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("0.1000000000000000055", 0.1),
        ("123456789.123456789", 123456789.12345679),
    ],
)
def test_numbers(written: str, kept: float) -> None:
    """A number without a fraction is kept to its last digit, another one as the nearest double, alone and in a batch."""
    sent = raw(metadata={"x": "@", "zero": 0.0}, changes=[{"field": "f", "before": ["@"], "after": "@"}])
    sent = sent.replace(b'"@"', written.encode())
    plain = raw(metadata={"x": "@", "half": 0.5}).replace(b'"@"', written.encode())
    for event in (
        decode_event(sent),
        *decode_events([sent, sent]),
        decode_event(plain),
        *decode_events([plain, plain]),
    ):
        assert isinstance(event, Event)
        event.source = "tests"
        recorded = decode_recorded(0, *_recorded(event)[0])
        found = [recorded.metadata["x"], *(side for each in recorded.changes for side in (each.before[0], each.after))]
        assert [(repr(each), type(each)) for each in found] == [(repr(kept), type(kept))] * len(found)


@given(st.data())
def test_no_key_hides_behind_another(data: st.DataObject) -> None:
    """However strings are spelled, an object with a key twice is refused, and one without is not."""
    chars = ('"', ":", "\\", "x", ",", "{", " ")
    spellings = [spelling for char in chars for spelling in (f"\\u{ord(char):04x}", json.dumps(char)[1:-1])]
    spelled = st.lists(st.sampled_from(spellings), max_size=3).map("".join)
    gap = st.sampled_from(["", " ", "\t", "\n\r"])
    value = st.recursive(
        st.one_of(spelled.map('"{}"'.format), st.sampled_from(["1", "null", "[]", "{}"])),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2).map(lambda parts: f"[{','.join(parts)}]"),
            st.lists(st.tuples(spelled, gap, inner), max_size=3).map(_object),
        ),
        max_leaves=6,
    )
    metadata = _object(data.draw(st.lists(st.tuples(spelled, gap, value), max_size=4)))
    sent = f'{{"action":"a.b","actor":{{"type":"u","id":"1"}},"metadata":{metadata}}}'.encode()
    is_double = []
    json.loads(sent, object_pairs_hook=lambda pairs: is_double.append(len(dict(pairs)) < len(pairs)) or dict(pairs))
    if any(is_double):
        with pytest.raises(InvalidEvent, match="twice"):
            decode_event(sent)
    else:
        assert decode_event(sent).metadata == json.loads(metadata)


def _object(members: list[tuple[str, str, str]]) -> str:
    return "{" + ",".join(f'"{key}"{gap}:{gap}{value}' for key, gap, value in members) + "}"


@pytest.mark.parametrize("depth", [14, 15, 16, 17, 2000, 100_000])
@pytest.mark.parametrize("field", ["metadata", "changes"])
def test_depth_is_bounded(depth: int, field: str) -> None:
    """Sixteen levels of nesting are taken, the event itself being the first; more are refused, never a crash."""
    nested = "[" * (depth - (2 if field == "metadata" else 3)) + "]" * (depth - (2 if field == "metadata" else 3))
    part = f'"metadata":{{"k":{nested}}}' if field == "metadata" else f'"changes":[{{"field":"f","after":{nested}}}]'
    sent = f'{{"action":"a.b","actor":{{"type":"u","id":"1"}},{part}}}'.encode()
    if depth <= 16:
        decode_event(sent)
    else:
        with pytest.raises(InvalidEvent):
            decode_event(sent)


def test_size_is_bounded() -> None:
    """64 KiB of JSON are taken and one byte more is not."""
    room = EVENT_BYTES_MAX - len(raw(metadata={"x": ""}))
    decode_event(raw(metadata={"x": "a" * room}))
    with pytest.raises(InvalidEvent, match="65,537 bytes"):
        decode_event(raw(metadata={"x": "a" * (room + 1)}))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::1", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_addresses_are_canonical(sent: str, kept: str) -> None:
    """One address has one spelling, so that a filter finds it however it was sent."""
    assert decode_event(raw(context={"ip": sent})).context.ip == kept


def test_times_become_utc() -> None:
    """Offsets are accepted and the instant is kept, to the microsecond."""
    event = decode_event(raw(occurred_at="2026-11-22T12:00:00.123456+02:00"))
    assert event.occurred_at == datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
    assert event.occurred_at.tzinfo is UTC


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8).filter(lambda k: "\x00" not in k and k.isprintable()), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    metadata=st.dictionaries(st.text('ab":\\ é', max_size=6), json_values, max_size=4),
    spaced=st.booleans(),
    escaped=st.booleans(),
)
def test_whatever_json_is_sent_comes_back(metadata: dict[str, Any], spaced: bool, escaped: bool) -> None:
    """Through decoding, the stored lines and back, metadata is what was sent, however the JSON was written."""
    separators = (" , ", " : ") if spaced else (",", ":")
    sent = json.dumps(LEAST | {"metadata": metadata}, ensure_ascii=escaped, separators=separators).encode()
    event = decode_event(sent)
    event.source = "tests"
    lines, entry = _recorded(event)
    assert EncodedEvent(*lines).entry == entry
    assert not any(b"\n" in line for line in lines)
    recorded = decode_recorded(0, *lines)
    assert recorded.metadata == metadata
    assert same_content(event, recorded)
    assert same_content(decode_event(sent), recorded)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_an_event_or_an_invalid_event(sent: bytes) -> None:
    """Nothing that is sent raises anything else."""
    try:
        decode_event(sent)
    except InvalidEvent as refusal:
        assert refusal.path.startswith("$")


@given(
    st.sampled_from(
        ["action", "outcome", "actor", "targets", "context", "changes", "metadata", "message", "tenant", "occurred_at"]
    )
)
def test_any_difference_is_other_content(field: str) -> None:
    """An event sent again under its id with one field changed is not the same event."""
    full = decode_event(
        json.dumps(EVENT_TYPES["user.role_changed"].example | {"occurred_at": "2026-01-01T00:00:00Z"}).encode()
    )
    full.source = "tests"
    recorded = decode_recorded(0, *_recorded(full)[0])
    assert same_content(full, recorded)
    other = decode_event(
        raw(
            action="user.updated",
            outcome="failure",
            context={"ip": "192.0.2.1"},
            metadata={"a": 1},
            message="m",
            tenant="t",
            occurred_at="2026-01-01T00:00:01Z",
            changes=[],
            targets=[],
        )
    )
    assert not same_content(msgspec.structs.replace(full, **{field: getattr(other, field)}), recorded)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1", "true", False), ("0", "false", False), ("1", "1.0", False), ("0.0", "-0.0", False)]
    + [("1.50", "1.5", True), ('{"a": 1, "b": [2]}', '{"b": [2], "a": 1}', True)],
)
@pytest.mark.parametrize("place", ["metadata", "changes"])
def test_values_that_python_takes_for_equal_are_other_content(place: str, one: str, other: str, same: bool) -> None:
    """True is not 1: what is sent again under an id is compared as it is written, but for the order of keys and such."""

    def with_value(value: str) -> Event:
        text = f'{{"k": {value}}}' if place == "metadata" else f'[{{"field": "k", "before": {value}, "after": null}}]'
        event = decode_event(json.dumps(LEAST).encode()[:-1] + f', "{place}": {text}}}'.encode())
        event.source = "tests"
        return event

    first, second = with_value(one), with_value(other)
    assert same_content(second, decode_recorded(0, *_recorded(first)[0])) is same
    assert is_same(first, second) is same


def _recorded(event: Event) -> tuple[tuple[bytes, bytes, bytes], bytes]:
    """The stored lines of an event and its entry."""
    drafts = draft([event])
    _, [head], [entry] = drafts.complete(1_790_000_000_000_000)
    return (head, drafts.whos, drafts.whats), entry
