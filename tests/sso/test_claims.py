"""Rules about claims: what matches, in which order, whatever providers send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opssentinal.sso.claims import Rule, claim_values, is_domain_allowed, matching_rule, person_name, verified_email

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("claims", "name", "values"),
    [
        ({"groups": ["a", "b"]}, "groups", {"a", "b"}),
        ({"department": "Audit"}, "department", {"Audit"}),
        ({"is_auditor": True}, "is_auditor", {"true"}),
        ({"level": 3}, "level", {"3"}),
        ({"realm_access": {"roles": ["admin"]}}, "realm_access.roles", {"admin"}),
        ({"https://example.com/roles": ["x"]}, "https://example.com/roles", {"x"}),
        ({"a.b": "whole", "a": {"b": "path"}}, "a.b", {"whole"}),
        ({"groups": [["nested"], {"x": 1}, None]}, "groups", set()),
        ({"groups": {"admins": True}}, "groups", set()),
        ({"groups": None}, "groups", set()),
        ({}, "groups", set()),
    ],
)
def test_the_values_of_a_claim(claims: dict[str, Any], name: str, values: set[str]) -> None:
    """Members of a list or the one value, by the claim's name or a path into objects."""
    assert claim_values(claims, name) == values


def test_values_match_exactly_and_the_first_rule_counts() -> None:
    """No parts of names, no other case: `admins-of-nothing` is not `admins`."""
    rules = [Rule("groups", "admins", "admin"), Rule("groups", "staff", "member")]
    assert matching_rule(rules, {"groups": ["staff", "admins"]}) == rules[0]
    assert matching_rule(rules, {"groups": ["admins-of-nothing", "Staff"]}) is None
    assert matching_rule(rules, {"groups": "xadmins"}) is None
    assert matching_rule([], {"groups": ["admins"]}) is None


@example({"email": "dana@exam\u202eple.com", "email_verified": True})
@given(st.dictionaries(st.sampled_from(["email", "email_verified", "name", "given_name", "groups"]) | st.text(), JSON))
def test_no_claims_are_a_fault(claims: dict[str, Any]) -> None:
    """Whatever a provider sends, the answer is an address in lower case or none, and a name of one printable line."""
    email = verified_email(claims)
    assert email is None or (email == email.lower() and claims["email_verified"] in (True, "true"))
    assert email is None or email.isprintable()
    assert person_name(claims).isprintable()
    assert matching_rule([Rule("groups", "admins", "admin"), Rule("name.x", "1", "admin")], claims) is None or claims


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Dana\nDoe"}, "Dana Doe"),
        ({"name": "\u202eDana\x1b \u200bDoe\u3000"}, "Dana Doe"),
        ({"given_name": "Dana\t", "family_name": "\u2066Doe"}, "Dana Doe"),
        ({"name": "\u200b"}, ""),
        ({"name": "x" * 149 + " " + "y" * 10}, "x" * 149),
    ],
)
def test_a_name_is_cleaned_of_what_cannot_be_seen(claims: dict[str, Any], name: str) -> None:
    """Whoever cannot choose the name at the provider still gets in, under what can be read of it."""
    assert person_name(claims) == name


@given(st.emails())
def test_a_domain_is_allowed_exactly(email: str) -> None:
    """The address's own domain allows it in any case of letters, and no longer or shorter one does."""
    domain = email.rpartition("@")[2]
    assert is_domain_allowed(email, [domain.upper()])
    assert is_domain_allowed(email, [])
    assert not is_domain_allowed(email, ["x" + domain, domain + ".x", domain.partition(".")[2]])
