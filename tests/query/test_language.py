"""The query language: what each form means, that it round-trips, and that every refusal helps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opssentinal.errors import InvalidQuery
from opssentinal.query import Filter, Phrase, Term, format, parse
from opssentinal.query.language import TEXT_CHARS_MAX

from .strategies import characters, filters, refused, zones

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@given(filters(), zones)
def test_a_filter_survives_its_text(whole: Filter, zone: object) -> None:
    """parse(format(f)) is f, for any filter and in any zone."""
    text = format(whole, zone)  # type: ignore[arg-type]
    assert parse(text, zone) == whole, text  # type: ignore[arg-type]


@given(st.text(max_size=60) | st.text(characters, max_size=60))
@example("-")
@example('actor:"')
@example("AND AND")
@example("after:99999999999999999999d")
@example("after:999999999w")
@example("on:9999-12-31")
@example("on:0001-01-01")
@example("before:0001-01-01T00:00:00+14:00")
@example("ip:\u0661.1.1.1")
@example("\ud800")
@example("id:{0193a4c2-7d1e-7c3a-9b52-6f1f2f0c9d11}")
def test_any_text_is_a_filter_or_an_invalid_query(text: str) -> None:
    """Whatever is typed is understood, and then printed the same for ever, or refused with a hint."""
    try:
        whole = parse(text, now=NOW)
    except InvalidQuery as error:
        assert error.hint
    else:
        assert parse(format(whole), now=NOW) == whole


@given(st.lists(st.sampled_from(
    ["actor:", "-", "a", '"', "\\", ",", "*", " ", "AND", "after:", "7d", "2026-01-01", "ip:", "::1", "/", "is:sensitive"]
), max_size=14).map("".join))  # fmt: skip
def test_pieces_of_the_grammar_in_any_order_never_break_the_reader(text: str) -> None:
    """The same for texts made of the grammar's own pieces, which arbitrary text hardly ever contains."""
    try:
        whole = parse(text, now=NOW)
    except InvalidQuery as error:
        assert error.hint
    else:
        assert parse(format(whole), now=NOW) == whole


def test_the_query_of_the_front_page() -> None:
    """The example that everybody sees first means what it says, and is printed in the same words."""
    text = (
        "actor:alice action:user.* -outcome:success target:incident_42 ip:10.0.0.0/8 source:billing tenant:acme "
        'after:2026-01-01 before:2026-02-01 "free text"'
    )
    assert parse(text) == Filter(
        after=datetime(2026, 1, 1, tzinfo=UTC),
        before=datetime(2026, 2, 1, tzinfo=UTC),
        terms=(
            Term("actor", ("alice",)),
            Term("action", ("user.*",)),
            Term("outcome", ("success",), negated=True),
            Term("target", ("incident_42",)),
            Term("ip", ("10.0.0.0/8",)),
            Term("source", ("billing",)),
            Term("tenant", ("acme",)),
        ),
        text=(Phrase("free text"),),
    )
    assert format(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("actor:alice actor:bob", (Term("actor", ("alice", "bob")),)),
        ("actor:alice,bob", (Term("actor", ("alice", "bob")),)),
        ("-actor:alice -actor:bob", (Term("actor", ("alice", "bob"), negated=True),)),
        ("target:a AND target:b", (Term("target", ("a",)), Term("target", ("b",)))),
        ("target:a target:c AND target:b", (Term("target", ("a", "c")), Term("target", ("b",)))),
        ("actor:a AND action:b", (Term("actor", ("a",)), Term("action", ("b",)))),
        ('actor:"Smith, Alice",bob', (Term("actor", ("Smith, Alice", "bob")),)),
        ('actor:"Alice \\"Al\\" Smith"', (Term("actor", ('Alice "Al" Smith',)),)),
        (r"actor:CORP\alice", (Term("actor", (r"CORP\alice",)),)),
        (r"target:arn:aws:s3:::logs", (Term("target", ("arn:aws:s3:::logs",)),)),
        ("ACTOR:Alice", (Term("actor", ("Alice",)),)),
        ("action:User.Created", (Term("action", ("user.created",)),)),
        ("outcome:DENIED category:data-access", (Term("category", ("data_access",)), Term("outcome", ("denied",)))),
        ("is:sensitive", (Term("is", ("sensitive",)),)),
        ("-is:sensitive", (Term("is", ("sensitive",), negated=True),)),
        ("ip:10.1.2.3/8", (Term("ip", ("10.0.0.0/8",)),)),
        ("ip:10.0.0.1/32", (Term("ip", ("10.0.0.1",)),)),
        ("ip:::1", (Term("ip", ("::1",)),)),
        ("ip:2001:DB8:0:0::1", (Term("ip", ("2001:db8::1",)),)),
        ("ip:::ffff:203.0.113.9", (Term("ip", ("203.0.113.9",)),)),
        ("ip:::ffff:10.0.0.0/104", (Term("ip", ("10.0.0.0/8",)),)),
        ("ip:::/0", (Term("ip", ("::/0",)),)),
        ("id:0193A4C27D1E7C3A9B526F1F2F0C9D11", (Term("id", ("0193a4c2-7d1e-7c3a-9b52-6f1f2f0c9d11",)),)),
        ("actor:a**b", (Term("actor", ("a*b",)),)),
    ],
)
def test_terms(text: str, terms: tuple[Term, ...]) -> None:
    """Each way to write terms gives exactly these terms."""
    assert parse(text).terms == terms


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("connection reset", (Phrase("connection"), Phrase("reset"))),
        ('"connection reset"', (Phrase("connection reset"),)),
        ('-"health check" -probe', (Phrase("health check", True), Phrase("probe", True))),
        ('"foo:bar" "AND" "-x"', (Phrase("-x"), Phrase("AND"), Phrase("foo:bar"))),
        ("--x", (Phrase("-x", True),)),
        ("and or not", (Phrase("and"), Phrase("not"), Phrase("or"))),
        ("a,b", (Phrase("a,b"),)),
        ("*fail*", (Phrase("fail"),)),
        (r"\*", (Phrase(r"\*"),)),
        ("a\u00a0b\tc\n", (Phrase("a"), Phrase("b"), Phrase("c"))),
        ("", ()),
        ("   ", ()),
    ],
)
def test_free_text(text: str, phrases: tuple[Phrase, ...]) -> None:
    """Words and quoted texts are phrases that must all occur, or with a minus must not."""
    assert parse(text).text == phrases


@pytest.mark.parametrize(
    ("text", "detail", "hint"),
    [
        ("actr:alice", "At character 1, “actr:alice”: There is no key “actr”", "Did you mean actor?"),
        ("a user:alice", "At character 3", "Did you mean actor?"),
        ("status:denied", "no key “status”", "Did you mean outcome?"),
        ("since:7d", "no key “since”", "Did you mean after?"),
        ("user_agent:x", "no key", "Did you mean ua?"),
        ("http://example.com", "no key “http”", 'put it in quotes: "10:30"'),
        ("(actor:alice)", "no key “(actor”", "no parentheses"),
        (":x", "no key “”", "The keys are actor,"),
        ("actor:", "the end: actor has no value", "actor:value"),
        ("actor: alice", "actor has no value", "without a space"),
        ('actor:""', "actor has no value", "actor:value"),
        ("actor:a,", "actor has no value", "actor:value"),
        ('""', "free text has no value", "leave the key out"),
        ('actor:"alice', "never closed", "Close it"),
        ('"alice\\"', "never closed", 'as \\"'),
        ('actor:al"ice', "At character 9", "Put the whole value in quotes"),
        ('"a"b', "Something follows a closing quote", "Put a space"),
        ('actor:"a"b', "Something follows a closing quote", "Put a space"),
        ("- x", "excludes nothing", "-outcome:success"),
        ("x -", "excludes nothing", "-outcome:success"),
        ("actor:a OR actor:b", "At character 9, “OR”: OR is no operator", "actor:alice,bob"),
        ("NOT actor:a", "NOT is no operator", "-actor:alice"),
        ("-AND", "AND is no operator", "minus"),
        ("AND actor:a", "nothing on one side", '"AND"'),
        ("actor:a AND", "nothing on one side", '"AND"'),
        ("actor:a AND AND actor:b", "nothing on one side", '"AND"'),
        ("outcome:succes", "“succes” is no value of outcome", "Did you mean success? There is success, failure, denied"),
        ("is:secret", "“secret” is no value of is", "There is sensitive"),
        ("category:auth", "“auth” is no value of category", "authentication, user_management"),
        ("ip:10.0.0.*", "no IP address", "ip takes no *"),
        ("ip:10.0.0.300", "no IP address", "203.0.113.9"),
        ("ip:10.0.0.0/33", "no IP address", "10.0.0.0/8"),
        ("ip:fe80::1%eth0", "zone after %", "2001:db8::1"),
        ("id:41", "no event id", "actor: or target:"),
        ("after:tomorrowish", "no date or time", "2026-01-31"),
        ("after:2026-02-30", "no date or time", "7d"),
        ("after:7", "no date or time", "7d"),
        ("after:9999-12-31", "“9999-12-31” is out of range", "leave the bound out"),
        ("before:9999-12-31T23:59:59-14:00", "out of range", "1900 to 9997"),
        ("after:999999999w", "“999999999w” is out of range", "leave the bound out"),
        ("after:99999d", "“99999d” is out of range", "1900 to 9997"),
        ("-after:7d", "cannot be excluded", "before:"),
        ("after:7d,8d", "takes one time", "before:2026-02-01"),
        ("on:now", "no day of its own", "2026-01-31"),
        ("after:2026-02-01 before:2026-01-01", "ends (2026-01-01) before", "later than the beginning"),
        ("after:2026-01-01 before:2026-01-01", "before anything can be in it", "not included"),
        ("*", "matches every event", "Leave it out"),
        ("actor:a\x00b", "U+0000", "control characters"),
        ('"a\tb"', "U+0009", "control characters"),
        ("actor:\ud800", "U+D800", "control characters"),
        ("actor:" + "a" * 513, "513 characters", "At most 512"),
        ("a " * 3 + "b" * TEXT_CHARS_MAX, "12,006 characters", "At most 12,000"),
        (" ".join(f"w{n}" for n in range(101)), "101 values", "At most 100"),
        (" ".join("x" * 499 + str(n) for n in range(9)), "4,500 characters in all", "At most 4,000"),
    ],
)  # fmt: skip
def test_refusals(text: str, detail: str, hint: str) -> None:
    """What cannot be meant is refused, saying where and what is wrong and what to write instead."""
    error = refused(parse, text, now=NOW)
    assert detail in error.detail
    assert hint in error.hint
    assert error.code == "invalid_query"


def test_errors_repeat_no_control_characters() -> None:
    """An error quotes what was typed without terminal escapes in it, and not at length."""
    error = refused(parse, "\x1b[31mfoo" + "o" * 200 + ":x")
    assert "\x1b" not in str(error)
    assert len(error.detail) < 200


def test_relative_times_count_back_from_now() -> None:
    """`7d` is seven times 24 hours before the given now, and today is a day of the zone."""
    assert parse("after:7d", now=NOW).after == NOW - timedelta(days=7)
    assert parse("after:24h before:30m", now=NOW) == Filter(NOW - timedelta(hours=24), NOW - timedelta(minutes=30))
    assert parse("before:now", now=NOW).before == NOW
    assert parse("on:today", now=NOW) == Filter(datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))


def test_repeated_bounds_must_all_hold() -> None:
    """Of several beginnings the latest counts, of several ends the earliest."""
    assert parse("after:2026-01-01 after:2026-01-03 before:2026-02-01 before:2026-03-01") == parse(
        "after:2026-01-03 before:2026-02-01"
    )


def test_the_largest_filter_has_a_text_that_is_read() -> None:
    """The limits fit each other: a filter full of quotes, at every limit, still prints to a text within the limit."""
    whole = Filter(
        datetime(2026, 1, 1, 1, 1, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 1, 1, 1, 2, tzinfo=UTC),
        tuple(Term("target_type", ('"' * 38 + f"{n:02}",)) for n in range(100)),
    )
    assert len(format(whole)) > 8_000
    assert parse(format(whole)) == whole
