"""The list of sessions, and ending them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from opssentinal.workspace.models import User
from opssentinal.workspace.principals import session_reference
from tests.workspace.conftest import away, browser, events, is_signed_in, session_key, signed_in

PATH = "/profile/sessions/"
Broken = Callable[[], AbstractContextManager[None]]


def row_of(client: Client) -> UserSession:
    return UserSession.objects.get(session_key=session_key(client))


def test_the_list_shows_where_one_is_signed_in(alice: User, bob: User) -> None:
    """Own browsers with their addresses, the current one marked; nobody else's."""
    client = signed_in()
    signed_in(ip="198.51.100.4")
    signed_in("bob@example.com", ip="192.0.2.200")
    page = client.get(PATH).content.decode()
    assert page.count("Firefox 140 on Linux</td>") + page.count("Firefox 140 on Linux <span") == 2
    assert page.count("This browser") == 1
    assert "203.0.113.9" in page
    assert "198.51.100.4" in page
    assert "192.0.2.200" not in page


def test_a_revoked_session_is_out_at_its_next_request_and_recorded(alice: User) -> None:
    """session.revoked tells who ended whose session from where; the other browser is a stranger then."""
    client, other, third = signed_in(), signed_in(ip="198.51.100.4"), signed_in(ip="198.51.100.5")
    ended = session_reference(session_key(other))
    assert client.post(PATH, {"session": row_of(other).pk})["Location"] == PATH
    (event,) = events("session.revoked")
    assert event.actor is not None
    assert event.actor.id == event.targets[0].id == f"user_{alice.pk}"
    assert event.metadata == {"session_id": ended}
    assert (event.context.ip, event.context.session_id) == ("203.0.113.9", session_reference(session_key(client)))
    assert other.get("/profile/")["Location"] == "/accounts/login/?next=/profile/"
    assert is_signed_in(client)
    assert is_signed_in(third)


def test_all_others_are_ended_each_with_its_record(alice: User, bob: User) -> None:
    """`others` spares this browser and other people."""
    client, second, third = signed_in(), signed_in(ip="198.51.100.4"), signed_in(ip="198.51.100.5")
    bobs = signed_in("bob@example.com")
    keys = {session_reference(session_key(browser)) for browser in (second, third)}
    client.post(PATH, {"session": "others"})
    assert {event.metadata["session_id"] for event in events("session.revoked")} == keys
    assert [is_signed_in(browser) for browser in (client, second, third, bobs)] == [True, False, False, True]
    client.post(PATH, {"session": "others"})
    assert len(events("session.revoked")) == 2, "nothing was ended, so nothing is recorded"


def test_only_own_other_sessions_can_be_ended(alice: User, bob: User) -> None:
    """Somebody else's session, one's current one, an unknown and a senseless id are not found."""
    client, bobs = signed_in(), signed_in("bob@example.com")
    for wanted in (row_of(bobs).pk, row_of(client).pk, 10**9, "x", ""):
        assert client.post(PATH, {"session": wanted}).status_code == 404
    assert is_signed_in(bobs)
    assert events("session.revoked") == []
    assert browser().post(PATH, {"session": "others"}).status_code == 302


def test_a_session_ends_only_together_with_its_record(alice: User, broken_ledger: Broken) -> None:
    """With the ledger broken the other browser stays signed in; with the sessions broken there is no record."""
    client, other = signed_in(), signed_in(ip="198.51.100.4")
    wanted = {"session": row_of(other).pk}
    with broken_ledger():
        assert client.post(PATH, wanted).status_code == 500
    assert is_signed_in(other)
    with away("django_session"):
        assert client.post(PATH, wanted).status_code == 500
    assert events("session.revoked") == []
    assert is_signed_in(other)


def test_expired_sessions_are_not_listed(alice: User) -> None:
    """A session that opens nothing any more is none."""
    client, other = signed_in(), signed_in(ip="198.51.100.4")
    Session.objects.filter(session_key=session_key(other)).update(expire_date="2020-01-01T00:00Z")
    assert "198.51.100.4" not in client.get(PATH).content.decode()


def test_reading_pages_writes_at_most_once_a_minute(alice: User) -> None:
    """The first page notes the activity, with the address it came from; the next ones write nothing."""
    client = signed_in()
    with CaptureQueriesContext(
        connection,
    ) as first:
        client.get("/profile/", REMOTE_ADDR="198.51.100.99")
    with CaptureQueriesContext(connection) as second:
        client.get("/profile/", REMOTE_ADDR="198.51.100.77")
        client.get(PATH)
    reads = ("SELECT", "PRAGMA", "BEGIN", "COMMIT")
    assert sum(not query["sql"].startswith(reads) for query in first) == 1
    assert sum(not query["sql"].startswith(reads) for query in second) == 0
    assert row_of(client).ip == "198.51.100.99"
    cache.clear()
    client.get("/profile/", REMOTE_ADDR="198.51.100.77")
    assert row_of(client).ip == "198.51.100.77"


def test_pages_go_on_when_nothing_can_be_written(alice: User) -> None:
    """On a database that takes no writes, as on a full disk, whoever is signed in can still read."""
    client = signed_in()
    cache.clear()
    on, off = (
        ("SET default_transaction_read_only = on", "RESET default_transaction_read_only")
        if connection.vendor == "postgresql"
        else ("PRAGMA query_only = 1", "PRAGMA query_only = 0")
    )
    with connection.cursor() as cursor:
        cursor.execute(on)
        try:
            assert client.get("/profile/", REMOTE_ADDR="198.51.100.99").status_code == 200
        finally:
            cursor.execute(off)
    assert row_of(client).ip != "198.51.100.99"
