"""Insights → Exports, as an admin uses it and as others cannot."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import pytest
from django.db import connections
from django.test import Client

from opssentinal.exports import jobs, services
from opssentinal.exports.models import Export
from opssentinal.ledger import reader
from opssentinal.query import Filter, parse
from opssentinal.workspace.models import User
from tests.exports.conftest import ADMIN, Back, downloads, events, export, make_files, record_events

LIST = "/insights/exports/"


@pytest.fixture
def admin(back: Back) -> User:
    return User.objects.create_user("alice@example.com", "correct horse battery", name="Alice", role="admin")


@pytest.fixture
def alice(admin: User) -> Client:
    client = Client()
    client.force_login(admin)
    return client


@pytest.fixture
def working() -> Iterator[None]:
    """The back's loop over the queue, as fast as the server's."""
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.wait(0.05):
                jobs.run_queued_exports(stop)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join(30)


def test_a_small_export_comes_at_once(alice: Client, working: None) -> None:
    """One click: the answer leads to the file, with its name, length and type; created and fetched are in the log."""
    record_events(events(100))
    answer = alice.post(
        LIST + "new/", {"filter": parse("actor:usr_7").to_json().decode(), "format": "csv", "bom": "on"}
    )
    made = Export.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"{LIST}{made.public_id}/download/")
    file = alice.get(answer["Location"])
    content = b"".join(file.streaming_content)  # type: ignore[attr-defined]
    file.close()
    assert hashlib.sha256(content).hexdigest() == made.sha256
    assert content.startswith(b"\xef\xbb\xbf")
    assert file["Content-Disposition"] == f'attachment; filename="{made.file_name}"'
    assert file["Content-Type"] == "text/csv; charset=utf-8"
    assert file["Content-Length"] == str(len(content))
    assert file["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in file["Cache-Control"]
    assert [event.metadata["stage"] for event in downloads()] == ["created", "fetched"]
    assert all(event.actor and event.actor.email == "alice@example.com" for event in downloads())
    assert all(event.context.ip == "127.0.0.1" for event in downloads())


def test_the_parameters_of_the_page_are_a_filter_too(alice: Client) -> None:
    """The same names as in the page's address; bare dates are days of the zone that the page shows."""
    alice.post(
        LIST + "new/",
        {"actor": ["alice", "bob"], "from": "2026-11-01", "to": "2026-11-02", "tz": "Europe/Berlin", "format": "jsonl"},
    )
    asked = Export.objects.get()
    assert asked.query == "actor:alice,bob after:2026-11-01 before:2026-11-03"
    assert asked.filter.after is not None
    assert asked.filter.after.isoformat() == "2026-10-31T23:00:00+00:00"


def test_a_larger_one_shows_its_progress(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not ready in time: the page of the job, with a bar, a cancel button, and a way to refresh without JavaScript."""
    monkeypatch.setattr("opssentinal.exports.views.AT_ONCE_S", 0.0)
    answer = alice.post(LIST + "new/", {"format": "csv"}, follow=True)
    asked = Export.objects.get()
    page = answer.content.decode()
    assert answer.redirect_chain[-1][0] == f"{LIST}{asked.public_id}/"
    assert "<progress" in page
    assert "Waiting" in page
    assert 'http-equiv="refresh"' in page
    Export.objects.update(status="running", rows_done=420, rows_total=1000)
    part = alice.get(f"{LIST}{asked.public_id}/progress/").content.decode()
    assert "420 of 1,000" in part
    assert "every 1s" in part
    Export.objects.update(status="queued")
    make_files()
    part = alice.get(f"{LIST}{asked.public_id}/progress/").content.decode()
    assert "every 1s" not in part
    assert f"{LIST}{asked.public_id}/download/" in part


def test_a_running_one_can_be_cancelled(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The button ends it; a second press says that it has ended; the page tells so, and offers no file."""
    monkeypatch.setattr("opssentinal.exports.views.AT_ONCE_S", 0.0)
    alice.post(LIST + "new/", {"format": "csv"})
    asked = Export.objects.get()
    for said in ("was cancelled", "already ended"):
        page = alice.post(f"{LIST}{asked.public_id}/cancel/", follow=True).content.decode()
        assert said in page
        assert "download/" not in page
    assert downloads()[0].metadata["reason"] == "cancelled"


def test_the_list_and_the_page_say_what_left(alice: Client) -> None:
    """Who, which filter, how many rows, which SHA-256, until when; text from outside is escaped."""
    record_events(events(30))
    made = export(parse('outcome:success -actor:"<script>alert(1)</script>"'), "parquet")
    for address in (LIST, f"{LIST}{made.public_id}/"):
        page = alice.get(address).content.decode()
        assert made.sha256 in page
        assert "outcome:success" in page
        assert "<script>alert" not in page
        assert "Alice" in page
        assert ">30<" in page
        assert f"{made.expires_at:%Y-%m-%d %H:%M}" in page
        assert "download/" in page


def test_an_empty_list_says_where_to_begin(alice: Client) -> None:
    """Nothing exported yet: a sentence and the way to the log."""
    assert "Nothing has been exported yet" in alice.get(LIST).content.decode()


def test_a_long_list_has_pages(alice: Client) -> None:
    """Newest first, fifty a page."""
    Export.objects.bulk_create(
        Export(
            principal="user:1", actor_json='{"type":"user","id":"user_1"}', context_json="{}", filter_json="{}",
            format="csv", head=0, status="expired", file_name=f"file-{n}.csv", created_at="2026-11-22T10:00:00Z",
        )
        for n in range(60)
    )  # fmt: skip
    first, second = (alice.get(f"{LIST}?page={n}").content.decode() for n in (1, 2))
    assert first.count("Expired</span>") == 50
    assert second.count("Expired</span>") == 10
    assert "Page 2 of 2" in second


def test_what_cannot_be_is_said(alice: Client) -> None:
    """A format or filter that cannot be leads back with the reason; nothing is queued."""
    for form in ({"format": "xlsx"}, {"filter": '{"terms": 1}'}, {"q": "nonsense:1"}, {"tz": "Mars/Phobos"}):
        page = alice.post(LIST + "new/", form, follow=True).content.decode()
        assert 'role="alert"' in page
    assert not Export.objects.exists()


def test_an_expired_file_leads_back_to_its_page(alice: Client) -> None:
    """The page says that it has expired; there is nothing to fetch."""
    made = export(Filter(), "csv")
    assert made.expires_at is not None
    services.expire_exports(made.expires_at)
    page = alice.get(f"{LIST}{made.public_id}/download/", follow=True).content.decode()
    assert "has expired" in page
    assert "Download CSV" not in page


def test_only_admins(alice: Client) -> None:
    """Visitors are sent to sign in, members refused and recorded, at every address; no export comes into being."""
    made = export(Filter(), "csv")
    User.objects.create_user("bob@example.com", "correct horse battery", role="member")
    bob = Client()
    addresses = [LIST, *(f"{LIST}{made.public_id}/{part}" for part in ("", "progress/", "download/"))]
    posts = [f"{LIST}new/", f"{LIST}{made.public_id}/cancel/"]
    assert {bob.get(address).status_code for address in addresses} == {302}
    assert all("/login/" in bob.post(address)["Location"] for address in posts)
    bob.force_login(User.objects.get(email="bob@example.com"))
    assert {bob.get(address).status_code for address in addresses} == {403}
    assert {bob.post(address).status_code for address in posts} == {403}
    denials = [event for event in reader.newest(50) if event.action == "access.denied"]
    assert len(denials) == len(addresses) + len(posts)
    assert [event.metadata["stage"] for event in downloads()] == ["created"]
    assert Export.objects.count() == 1


def test_addresses_of_nothing(alice: Client) -> None:
    """An id that is none is 404 at every address, and a wrong method 405."""
    for part in ("", "progress/", "download/"):
        assert alice.get(f"{LIST}exp_nothing/{part}").status_code == 404
    assert alice.post(f"{LIST}exp_nothing/cancel/").status_code == 404
    assert alice.get(f"{LIST}exp_nothing/cancel/").status_code == 405
    assert alice.head(f"{LIST}{export(Filter(), 'csv').public_id}/download/").status_code == 405
    assert ADMIN.sees_all
