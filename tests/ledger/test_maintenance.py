"""Compaction and pruning change what is stored, never what it says; fsck notices whatever else changes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection, transaction

from opssentinal.errors import NotFound, Overloaded
from opssentinal.ledger import pruning
from opssentinal.ledger.fsck import fsck
from opssentinal.ledger.maintenance import BUNDLE_EVENTS, compact
from opssentinal.ledger.reader import bundles_after, head, read_event
from opssentinal.ledger.tiles import LedgerHashes
from opssentinal.merkle import inclusion_proof, leaf_hash, root, verify_inclusion
from tests.ledger.conftest import NOW_US, commit, make_event, uuid

Check = Callable[[], None]
DAY_US = 86_400_000_000


def rows() -> list[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT first_seq, count FROM ledger_bundle ORDER BY first_seq")
        return [tuple(row) for row in cursor.fetchall()]


def fill(total: int, step: int = 50, **fields: object) -> None:
    for n in range(0, total, step):
        commit([make_event(i, id=uuid(i), **fields) for i in range(n, min(n + step, total))], NOW_US + n * 1_000_000)


def test_compaction_merges_and_changes_nothing(ledger: Check) -> None:
    """Many small bundles become few within the limit; every event, root and proof stays; a second run does nothing."""
    fill(2 * BUNDLE_EVENTS + 700)
    before, events = head(), [event for bundle in bundles_after(0) for event in bundle.events()]
    assert compact() > 70
    ledger()
    assert [count for _, count in rows()[:2]] == [2000, 2000]
    assert head() == before
    assert [event for bundle in bundles_after(0) for event in bundle.events()] == events
    settled = rows()
    assert compact() == 0
    assert rows() == settled


def test_compaction_leaves_large_bundles_alone(ledger: Check) -> None:
    """What bulk loading writes is not written again, and single events between stay bounded."""
    commit([make_event(1)])
    for n in range(3):
        commit([make_event(i) for i in range(BUNDLE_EVENTS + n)])
    for n in range(40):
        commit([make_event(n)])
    assert compact() == 39
    ledger()
    assert [count for _, count in rows()] == [1, BUNDLE_EVENTS, BUNDLE_EVENTS + 1, BUNDLE_EVENTS + 2, 40]


def test_compaction_does_not_gather_days(ledger: Check) -> None:
    """Retention counts from a bundle's newest event, so events of different days are not merged into one."""
    for n in range(40):
        commit([make_event(n)], NOW_US + n * 6 * 3_600_000_000)
    compact()
    ledger()
    assert max(count for _, count in rows()) <= 5


def test_compaction_is_bounded_in_bytes(ledger: Check) -> None:
    """Large events are merged in smaller numbers, so that no bundle grows beyond what a reader can unpack."""
    import random

    chance = random.Random(1)
    for n in range(40):
        commit([make_event(n, metadata={"noise": chance.randbytes(30_000).hex()})])
    compact()
    ledger()
    sizes = [count for _, count in rows()]
    assert 1 < len(sizes) < 40


def test_a_reader_goes_on_across_a_compaction(ledger: Check) -> None:
    """A follower in the middle of the log gets each event once although the rows under it are merged."""
    fill(BUNDLE_EVENTS + 100)
    seen = []
    for bundle in bundles_after(0, limit_events=100_000):
        seen += [event.seq for event in bundle.events()]
        if len(seen) == 50:
            compact()
    assert seen == list(range(BUNDLE_EVENTS + 100))


def test_pruning_removes_the_text_and_keeps_the_tree(ledger: Check) -> None:
    """Old events lose their text and their ids; root and proofs stay; younger events are untouched."""
    fill(600)
    commit([make_event(i, id=uuid(i)) for i in range(600, 900)], NOW_US + 10 * DAY_US)
    before = head()
    wanted = pruning.preview(NOW_US + DAY_US)
    report = pruning.prune(NOW_US + DAY_US)
    ledger()
    assert (report.events, report.minimum_index, report.oldest_us) == (512, 512, NOW_US)
    assert wanted == report
    assert (head().size, head().root) == (before.size, before.root)
    with pytest.raises(NotFound):
        read_event(511)
    assert read_event(512).metadata == {"number": 512}
    reader = LedgerHashes()
    assert root(900, reader) == before.root
    event_leaf = leaf_hash(_entry(700))
    verify_inclusion(event_leaf, 700, 900, inclusion_proof(700, 900, reader), before.root)
    assert commit([make_event(3, id=uuid(3))], NOW_US + 11 * DAY_US)[0].status == "accepted"
    ledger()


def test_pruned_text_is_gone_from_the_file(ledger: Check) -> None:
    """After pruning no byte of a secret is left in the database file or its write-ahead log."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL frees the space when it vacuums")
    import random
    from pathlib import Path

    # Text that does not compress stands in the file as it is only if the column is stored raw: look for the column itself.
    noise = random.Random(1).randbytes(3000).hex()
    commit([make_event(i, metadata={"noise": noise}) for i in range(256)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT whats FROM ledger_bundle")
        column = bytes(cursor.fetchone()[0])
    path = Path(str(connection.settings_dict["NAME"]))
    files = [path, path.with_name(path.name + "-wal")]
    needle = column[1000:1064]
    assert any(needle in file.read_bytes() for file in files)
    pruning.prune(NOW_US + DAY_US)
    ledger()
    assert not any(needle in file.read_bytes() for file in files if file.exists())


def test_pruning_counts_recorded_not_occurred(ledger: Check) -> None:
    """Events that happened long ago but were recorded today stay."""
    from opssentinal.events.model import from_us

    commit([make_event(i, occurred_at=from_us(NOW_US - 4000 * DAY_US)) for i in range(512)])
    assert pruning.preview(NOW_US - DAY_US).events == 0
    assert pruning.prune(NOW_US - DAY_US).events == 0
    ledger()


def test_pruning_goes_on_where_it_stopped(ledger: Check) -> None:
    """Pruning in portions gives the same log as at once, and nothing is pruned twice."""
    fill(2048, step=256)
    for part in (1, 4, 4, 8):
        pruning.prune(NOW_US + part * 256 * 1_000_000)
        ledger()
    assert head().minimum_index == 2048


def test_pruning_needs_no_compaction(ledger: Check) -> None:
    """A log as bulk loading leaves it is pruned in one run, through many transactions and across its odd bounds."""
    for n in range(12):
        commit([make_event(n * 3000 + i, id=uuid(n * 3000 + i)) for i in range(3000 - n)], NOW_US + n)
    size = head().size
    report = pruning.prune(NOW_US + DAY_US)
    ledger()
    assert report.events == head().minimum_index == size - size % 256


def test_pruning_stops_at_the_first_young_bundle(ledger: Check) -> None:
    """Old bundles of any size go, up to the last multiple of 256 before the first that is too young."""
    for n in range(700):
        commit([make_event(n)])
    commit([make_event(i) for i in range(700, 1000)], NOW_US + 2 * DAY_US)
    assert pruning.preview(NOW_US + DAY_US).events == 512
    assert pruning.prune(NOW_US + DAY_US) == (512, 512, NOW_US)
    assert read_event(512).metadata == {"number": 512}
    ledger()


def test_fsck_beside_a_server_that_writes(ledger: Check) -> None:
    """Appending during the check is not looked at; compaction and pruning wait for it."""
    fill(1000, step=10)

    def meanwhile(done: int, _size: int) -> None:
        commit([make_event(done)], NOW_US + 2_000_000_000)
        with pytest.raises(Overloaded):
            compact()

    report = fsck(meanwhile)
    assert report.problems == []
    assert report.size == 1000


def _entry(seq: int) -> bytes:
    from opssentinal.events.encoding import EncodedEvent
    from opssentinal.ledger.reader import read_range

    bundle = next(read_range(seq, seq + 1))
    return EncodedEvent(bundle.heads[0], bundle.whos[0], bundle.whats[0]).entry


def test_fsck_goes_on_beyond_damage(ledger: Check) -> None:
    """Unreadable and missing bundles are each reported, and everything around them is still derived and compared."""
    fill(3000, step=100)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_bundle SET whats = %s WHERE first_seq IN (0, 2000)", [b"not zstd"])
        cursor.execute("DELETE FROM ledger_bundle WHERE first_seq = 1000")
        cursor.execute("UPDATE ledger_bundle SET heads = NULL, leaf_hashes = NULL WHERE first_seq = 2500")
    report = fsck()
    assert (report.size, report.unreadable) == (2600, 400)
    for place in ("at seq 0", "begins at 1100", "at seq 2000", "at seq 2500"):
        assert any(place in problem for problem in report.problems), report.problems
    assert len(report.problems) == 4
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_bundle SET whos = heads WHERE first_seq = 1500")
    assert any("tile" in problem for problem in fsck().problems)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ("UPDATE ledger_bundle SET recorded_to_us = recorded_from_us - 1 WHERE first_seq = 0", "range"),
        ("DELETE FROM ledger_bundle WHERE first_seq = 300", "next bundle"),
        (
            "UPDATE ledger_bundle SET whos = (SELECT whos FROM ledger_bundle WHERE first_seq = 100) WHERE first_seq = 200",
            "tile",
        ),
        ("UPDATE ledger_bundle SET heads = whos WHERE first_seq = 100", "cannot be read"),
        ("DELETE FROM ledger_tile", "tile"),
        ("DELETE FROM ledger_event_id WHERE seq = 77", "id"),
        ("UPDATE ledger_event_id SET seq = 78 WHERE seq = 77", "seq 78"),
        ("UPDATE ledger_head SET minimum_index = 256", "minimum index"),
        ("UPDATE ledger_head SET size = 1001", "1001"),
        ("UPDATE ledger_bundle SET count = 99 WHERE first_seq = 100", "99"),
    ],
)
def test_fsck_notices(ledger: Check, damage: str, word: str) -> None:
    """Each way to change a row by hand is found and named."""
    fill(1000, step=100)
    assert fsck().is_clean
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(damage)
        assert cursor.rowcount > 0
    problems = fsck().problems
    assert problems
    assert any(word in problem for problem in problems), problems
