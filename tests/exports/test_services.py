"""Asking for an export, finding it, fetching it and calling it off; who may, and what the log says."""

from __future__ import annotations

import hashlib
import stat
from datetime import timedelta

import pytest
from django.utils.timezone import now as utc_now

from opssentinal.errors import Conflict, IntegrityError, InvalidInput, NotFound, Overloaded
from opssentinal.events.model import Actor, Context
from opssentinal.exports import jobs, services
from opssentinal.exports.models import Export
from opssentinal.exports.services import Principal
from opssentinal.ledger import reader
from opssentinal.query import Filter, parse
from tests.exports.conftest import ADMIN, ALICE, Back, downloads, events, export, make_files, record_events

FROM = Context(ip="203.0.113.9", user_agent="curl/8.5.0")
KEY_A, KEY_B = Principal("api_key", "keyA"), Principal("api_key", "keyB")
KEY_ACTOR = Actor(type="api_key", id="keyA", name="billing")


def ask(principal: Principal = ADMIN, **more: object) -> Export:
    return services.create_export(ALICE, FROM, principal, Filter(), **more)  # type: ignore[arg-type]


def test_an_export_holds_what_the_log_held_at_the_click(back: Back) -> None:
    """Events recorded between the click and the making of the file are not in it, its own event included."""
    record_events(events(300))
    asked = ask()
    record_events(events(50, first=300))
    make_files()
    asked.refresh_from_db()
    assert (asked.status, asked.head, asked.rows) == ("ready", 300, 300)


def test_it_holds_exactly_the_events_of_the_filter(back: Back) -> None:
    """Rows, size and SHA-256 in the row are those of the file, and the file has the filter's events only."""
    record_events(events(200))
    made = export(parse("actor:usr_7"), "jsonl")
    content = made.path.read_bytes()
    assert made.rows == content.count(b"\n") == 1
    assert made.bytes == len(content)
    assert made.sha256 == hashlib.sha256(content).hexdigest()
    assert b'"usr_7"' in content


def test_the_file_is_for_the_server_alone(back: Back) -> None:
    """Mode 0600 in a folder of mode 0700, and nothing half made beside it."""
    made = export(Filter(), "csv")
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700
    assert list(made.path.parent.glob("*.partial*")) == []


def test_making_it_is_recorded_with_its_digest_and_filter(back: Back) -> None:
    """One event of stage created by who asked, from where they asked, with rows, SHA-256 and the filter."""
    record_events(events(20))
    asked = services.create_export(ALICE, FROM, ADMIN, parse("outcome:success"), "csv")
    assert downloads() == []
    make_files()
    asked.refresh_from_db()
    (event,) = downloads()
    assert (event.actor, event.context.ip, event.outcome) == (ALICE, "203.0.113.9", "success")
    assert event.metadata == {
        "stage": "created",
        "format": "csv",
        "query": "outcome:success",
        "filter": {"terms": [{"field": "outcome", "values": ["success"]}]},
        "head": 20,
        "rows": 20,
        "bytes": asked.bytes,
        "sha256": asked.sha256,
    }
    assert (event.targets[0].id, event.targets[0].name) == (asked.public_id, asked.file_name)


def test_each_fetch_is_recorded_before_the_first_byte(back: Back) -> None:
    """Two fetches are two events of stage fetched, each by who fetched, there before anything has been read."""
    made = export(Filter(), "csv")
    for fetcher in (ALICE, Actor(type="user", id="user_2", name="Carol")):
        _, file = services.open_export(ADMIN, made.public_id, fetcher, FROM)
        with file:
            event = downloads()[-1]
            assert (event.metadata["stage"], event.actor) == ("fetched", fetcher)
            assert event.metadata["sha256"] == made.sha256
            assert file.tell() == 0
            assert hashlib.sha256(file.read()).hexdigest() == made.sha256
    assert [event.metadata["stage"] for event in downloads()] == ["created", "fetched", "fetched"]


def test_no_record_no_bytes(back: Back) -> None:
    """If the fetch cannot be recorded, the file is not handed out."""
    made = export(Filter(), "csv")
    with pytest.raises(Exception, match="actor"):
        services.open_export(ADMIN, made.public_id, Actor(type="user", id="x" * 300), FROM)
    assert [event.metadata["stage"] for event in downloads()] == ["created"]


def test_a_key_sees_only_what_it_created(back: Back) -> None:
    """Of another's export a key cannot tell that it exists, in no operation; admins and the shell see all."""
    made = export(Filter(), "csv", principal=KEY_A)
    assert [each.public_id for each in services.list_exports(KEY_A)] == [made.public_id]
    assert list(services.list_exports(KEY_B)) == []
    attempts = (
        lambda: services.get_export(KEY_B, made.public_id),
        lambda: services.open_export(KEY_B, made.public_id, KEY_ACTOR, FROM),
        lambda: services.cancel_export(KEY_B, made.public_id, KEY_ACTOR, FROM),
    )
    for attempt in attempts:
        with pytest.raises(NotFound) as refused:
            attempt()
        with pytest.raises(NotFound) as absent:
            services.get_export(KEY_B, "exp_" + "0" * 32)
        assert str(refused.value) == str(absent.value)
    for principal in (KEY_A, ADMIN, Principal("os_user", "root@host")):
        assert services.get_export(principal, made.public_id) == made
    # A principal is its kind and its id: user 5 is not key 5.
    assert list(services.list_exports(Principal("api_key", "1"))) == []


def test_ids_cannot_be_guessed(back: Back) -> None:
    """128 random bits each, and none of them ever twice."""
    ids = {ask(Principal("user", str(n))).public_id for n in range(20)}
    assert len(ids) == 20
    assert all(each.startswith("exp_") and len(each) == 36 for each in ids)


@pytest.mark.parametrize("strange", ["", "exp_", "../../secret.key", "exp_\x00", "x" * 5000])
def test_a_strange_id_is_no_export(back: Back, strange: str) -> None:
    """Whatever stands in an address, it is not found, and reaches no file."""
    with pytest.raises(NotFound):
        services.open_export(ADMIN, strange, ALICE, FROM)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"format": "xlsx"}, "format"),
        ({"tz": "Mars/Phobos"}, "tz"),
        ({"tz": "../../etc/passwd"}, "tz"),
        ({"tz": ""}, "tz"),
        ({"format": "jsonl", "bom": True}, "bom"),
    ],
)
def test_what_cannot_be_is_refused(back: Back, more: dict[str, object], path: str) -> None:
    """A format, zone or byte order mark that cannot be is named, and nothing is queued."""
    with pytest.raises(InvalidInput) as refused:
        ask(**more)
    assert refused.value.path == path
    assert not Export.objects.exists()


def test_it_cannot_be_fetched_before_it_is_ready(back: Back) -> None:
    """A waiting export is a conflict that says so, and no event."""
    with pytest.raises(Conflict, match="waiting"):
        services.open_export(ADMIN, ask().public_id, ALICE, FROM)
    assert downloads() == []


def test_an_expired_file_is_not_handed_out(back: Back) -> None:
    """From the moment shown on, also before the cleanup has been there; afterwards the row stays and the file is gone."""
    made = export(Filter(), "csv")
    assert made.expires_at is not None
    assert made.finished_at is not None
    assert made.expires_at - made.finished_at == timedelta(days=7)
    with pytest.raises(NotFound, match="expired"):
        services.open_export(ADMIN, made.public_id, ALICE, FROM, now=made.expires_at)
    assert services.expire_exports(made.expires_at - timedelta(seconds=1)) == 0
    assert made.path.exists()
    assert services.expire_exports(made.expires_at) == 1
    assert not made.path.exists()
    with pytest.raises(NotFound, match="expired"):
        services.open_export(ADMIN, made.public_id, ALICE, FROM)
    assert services.get_export(ADMIN, made.public_id).sha256 == made.sha256


def test_a_file_that_is_not_the_one_made_is_not_handed_out(back: Back) -> None:
    """A file that was cut or removed on disk is refused, and the fetch is not recorded as if it had happened."""
    made = export(Filter(), "csv")
    made.path.write_bytes(made.path.read_bytes()[:-1])
    with pytest.raises(IntegrityError):
        services.open_export(ADMIN, made.public_id, ALICE, FROM)
    made.path.unlink()
    with pytest.raises(NotFound, match="gone"):
        services.open_export(ADMIN, made.public_id, ALICE, FROM)
    assert [event.metadata["stage"] for event in downloads()] == ["created"]


def test_a_waiting_export_can_be_cancelled(back: Back) -> None:
    """It never runs; that it was asked for and by whom called off is in the log; a second cancel is a conflict."""
    asked = ask()
    carol = Actor(type="user", id="user_2", name="Carol")
    assert services.cancel_export(ADMIN, asked.public_id, carol, FROM).status == "cancelled"
    assert jobs.run_queued_exports() == 0
    (event,) = downloads()
    assert (event.outcome, event.actor, event.metadata["reason"]) == ("failure", carol, "cancelled")
    assert event.metadata["stage"] == "created"
    with pytest.raises(Conflict):
        services.cancel_export(ADMIN, asked.public_id, carol, FROM)
    assert len(downloads()) == 1


def test_how_many_may_wait_is_limited(back: Back) -> None:
    """One principal cannot fill the queue: the next is refused with a word on when to try again; others go on."""
    for _ in range(services.OPEN_PER_PRINCIPAL_MAX):
        ask(KEY_A)
    with pytest.raises(Overloaded) as refused:
        ask(KEY_A)
    assert refused.value.retry_after_s > 0
    ask(KEY_B)


def test_a_file_without_an_export_is_removed(back: Back) -> None:
    """What a crash left in the folder goes; the files of exports that may be fetched stay."""
    made = export(Filter(), "csv")
    orphan = made.path.with_name("exp_" + "0" * 32 + ".csv")
    orphan.write_bytes(b"left behind")
    services.expire_exports(utc_now())
    assert made.path.exists()
    assert not orphan.exists()


def test_the_log_stays_true(back: Back) -> None:
    """After all of it the ledger still derives to its root."""
    from tests.ledger.conftest import check_ledger

    export(Filter(), "csv")
    assert reader.head().size == 1
    check_ledger()
