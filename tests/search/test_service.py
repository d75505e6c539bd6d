"""The search service in its real surroundings: ledger, feed, socket, client."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from opssentinal.config import Config
from opssentinal.errors import InvalidQuery, NotFound, Unavailable
from opssentinal.ledger import reader
from opssentinal.ledger.recording import recording
from opssentinal.query import Filter, parse
from opssentinal.search.client import CancelScope, SearchClient, cancel_scope
from tests.search.conftest import running
from tests.search.events import event, many, newest_first

pytestmark = pytest.mark.usefixtures("ledger")


def record(*events):
    """Record events as the product does."""
    with recording() as note:
        for each in events:
            note(each)


def in_ledger():
    """Every event of the ledger."""
    return [each for bundle in reader.bundles_after(0, 10**9) for each in bundle.events()]


def test_finds_what_was_just_recorded(client: SearchClient) -> None:
    """An event is found by the first question after its commit, every time."""
    for at in range(20):
        record(event(at, action=f"round.n{at}"))
        page = client.page(parse(f"action:round.n{at}"))
        assert [each.seq for each in page.events] == [at]
        assert page.complete


def test_answers_whole_events(client: SearchClient) -> None:
    """What search returns is what the ledger returns, in order of time."""
    record(*many(300))
    page = client.page(Filter(), limit=300)
    assert page.events == newest_first(in_ledger())
    assert page.next is None


def test_socket_is_private(client: SearchClient, config: Config) -> None:
    """Only the owner may ask, or read the file."""
    client.status()
    assert stat.S_IMODE(config.search_socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(config.search_path.stat().st_mode) == 0o600


def test_errors_keep_their_class(client: SearchClient) -> None:
    """An error in the back is the same error at the client, with its hint."""
    with pytest.raises(InvalidQuery, match="actorr") as caught:
        client.facets(Filter(), ["actorr"])
    assert "actor" in caught.value.hint
    with pytest.raises(NotFound):
        client.neighbours(12, Filter())
    with pytest.raises(InvalidQuery):
        client.histogram(Filter(), tz="Mars/Base")
    with pytest.raises(NotFound):
        client.poke("nothing")


def test_no_back_is_unavailable(config: Config) -> None:
    """Without a back process every question says so at once."""
    with pytest.raises(Unavailable, match="not running") as down:
        SearchClient(config.search_socket).status()
    # Most often nobody started it, which a promise that it comes back by itself would hide.
    assert down.value.hint.startswith("Start the server with `opssentinal serve`")


def test_restart_goes_on_where_it_was(config: Config) -> None:
    """A new back has every event once: those from before, those recorded while there was none, and the new."""
    record(*many(40, seed=1))
    with running(config) as (_, client):
        assert client.status().rows == 40
    record(*many(30, seed=2))
    with running(config) as (_, client):
        record(event())
        page = client.page(Filter(), limit=100)
        assert page.events == newest_first(in_ledger())
        assert client.status().rows == 71


def test_withdrawn_question_is_unavailable(client: SearchClient) -> None:
    """A scope that was cancelled asks nothing more."""
    scope = CancelScope()
    token = cancel_scope.set(scope)
    try:
        scope.cancel()
        with pytest.raises(Unavailable) as caught:
            client.page(Filter())
        assert caught.value.code == "cancelled"
    finally:
        cancel_scope.reset(token)


def test_many_ask_at_once(client: SearchClient) -> None:
    """Questions from many threads are all answered, each with its own answer."""
    record(*(event(at, action=f"kind.n{at}") for at in range(16)))
    found: dict[int, list[int]] = {}

    def ask(at: int) -> None:
        found[at] = [each.seq for each in client.page(parse(f"action:kind.n{at}")).events]

    threads = [threading.Thread(target=ask, args=[at]) for at in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {at: [at] for at in range(16)}


def test_export_is_written_by_the_back(client: SearchClient, tmp_path: Path) -> None:
    """An export names its rows, bytes and hash truly, and leaves no other file."""
    import hashlib

    record(*many(50))
    path = tmp_path / "out" / "log.jsonl"
    path.parent.mkdir()
    made = client.export(parse("-action:logout"), None, "jsonl", path)
    content = path.read_bytes()
    assert made.rows == content.count(b"\n") == sum(each.action != "logout" for each in in_ledger())
    assert (made.bytes, made.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [each.name for each in path.parent.iterdir()] == ["log.jsonl"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
