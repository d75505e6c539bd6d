"""prove(): every event that can be read is proved, whatever became of the rows; what does not hold is never answered."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from hashlib import sha256

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from opssentinal.errors import IntegrityError, InvalidInput, NotFound
from opssentinal.events.encoding import digest_of
from opssentinal.events.model import Actor
from opssentinal.ledger import held, pruning, reader
from opssentinal.ledger.append import append
from opssentinal.ledger.fsck import fsck
from opssentinal.ledger.maintenance import as_row, compact, insert_row
from opssentinal.ledger.proof import prove
from opssentinal.ledger.snapshot import snapshot
from tests.ledger.conftest import NOW_US, commit, ledger, make_event, naive_root
from tests.ledger.test_held import LATER, MALLORY
from tests.merkle.naive import NaiveTree

__all__ = ["ledger"]

Check = Callable[[], None]


def fill(count: int, step: int, every: int = 40) -> NaiveTree:
    """A log in which one event of `every` is Mallory's, and the tree that the RFC has over it."""
    first = reader.head().size
    for begin in range(first, first + count, step):
        commit(
            [
                make_event(seq, actor=Actor(type="user", id="usr_mallory" if seq % every == 0 else "usr_1"))
                for seq in range(begin, min(begin + step, first + count))
            ]
        )
    return naive_tree()


def naive_tree() -> NaiveTree:
    """Over the entries as docs/spec/entry.md has them. Only while all of them have their text."""
    tree = NaiveTree(0)
    for bundle in reader.bundles_after(0, 1 << 30):
        for line, *parts in zip(bundle.heads, bundle.whos, bundle.whats, strict=True):
            who, what = (base64.b64encode(sha256(part).digest()) for part in parts)
            tree.leaves.append(sha256(b'\x00%b,"who":"%b","what":"%b"}' % (line, who, what)).digest())
    tree.size = len(tree.leaves)
    assert tree.size == reader.head().size
    return tree


def assert_proved(tree: NaiveTree, seq: int, size: int | None = None) -> None:
    """The proof is the RFC's word for word, and of the event's own text."""
    proven = prove(seq, size)
    size = tree.size if size is None else size
    assert (proven.seq, proven.size) == (seq, size)
    assert proven.lines == reader.read_lines(seq)
    assert proven.leaf_hash == sha256(b"\x00" + proven.lines.entry).digest() == tree.leaves[seq]
    assert proven.inclusion_proof == tree.path(seq, 0, size)
    assert proven.root == tree.mth(0, size)


@pytest.mark.parametrize(("count", "step"), [(1, 1), (2, 1), (3, 2), (255, 50), (256, 256), (257, 1), (513, 100)])
def test_every_event_is_proved(ledger: Check, count: int, step: int) -> None:
    """As it was written, compacted, and pruned but for what is held: each that can be read, and no other."""
    tree = fill(count, step)
    for seq in range(count):
        assert_proved(tree, seq)
    compact()
    for seq in range(0, count, 7):
        assert_proved(tree, seq)
    minimum_index = pruning.prune(LATER, holds=MALLORY).minimum_index
    assert minimum_index == count - count % 256
    for seq in range(count):
        if seq >= minimum_index or seq % 40 == 0:
            assert_proved(tree, seq)
        else:
            with pytest.raises(NotFound) as raised:
                prove(seq)
            assert raised.value.code == "pruned"
    ledger()


def test_every_size_is_proved(ledger: Check) -> None:
    """Under the root of each size at which the event was in the log, as somebody may have kept it."""
    tree = fill(300, 37)
    pruning.prune(LATER, holds=MALLORY)
    for seq in (0, 240, 256, 299):
        for size in range(seq + 1, 301, 1 if seq else 5):
            assert_proved(tree, seq, size)
    for seq, size in ((0, 0), (0, -1), (280, 280), (280, 301), (299, 2**62)):
        with pytest.raises(InvalidInput, match="size"):
            prove(seq, size)


def test_a_long_log(ledger: Check) -> None:
    """Over three levels of tiles, before and after compaction and pruning, at the price of a short one."""
    tree = fill(70_003, 4096, every=977)
    size = tree.size

    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def any_event(seqs: range, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(seqs))
        with CaptureQueriesContext(connection) as asked:
            prove(seq)
        # head, event; tiles around it and at the right edge; the rows of two subtrees; begin and end
        assert len(asked) <= 16
        sizes = st.one_of(
            st.integers(seq + 1, size), st.sampled_from([size, max(seq + 1, 65_536), max(seq + 1, 65_537)])
        )
        assert_proved(tree, seq, data.draw(sizes))

    any_event(range(size))
    for n in range(40):  # bundles that compaction merges
        commit([make_event(n)])
    assert compact() == 40
    tree, size = naive_tree(), size + 40
    any_event(range(size))
    assert pruning.prune(LATER, holds=MALLORY).minimum_index == 69_888
    any_event(range(0, 69_888, 977))
    any_event(range(69_888, size))
    for seq in (0, 977, 65_459, 66_436, 69_888, size - 1):
        assert_proved(tree, seq)


def test_the_root_is_the_one_that_fsck_prints(ledger: Check) -> None:
    """What was kept of a log long ago is the root of the proof at that size."""
    fill(300, 100)
    report = fsck()
    fill(300, 100)
    pruning.prune(LATER, holds=MALLORY)
    proven = prove(40, report.size)
    assert (proven.size, proven.root) == (300, report.root)
    assert prove(40).root == fsck().root != report.root


def test_an_erased_part_is_its_digest(ledger: Check) -> None:
    """The entry stands, and so does its proof."""
    tree = fill(10, 10)
    bundle = next(reader.read_range(0, 10))
    bundle.whos[3] = digest_of(bundle.whos[3])
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_bundle")
        insert_row(cursor, as_row(bundle))
    assert_proved(tree, 3)
    assert prove(3).lines.who == bundle.whos[3]
    assert fsck().is_clean


DAMAGE = [
    "UPDATE ledger_held_event SET what = (SELECT what FROM ledger_held_event WHERE seq = 80) WHERE seq = 40",
    "UPDATE ledger_held_event SET head = (SELECT head FROM ledger_held_event WHERE seq = 80) WHERE seq = 40",
    "UPDATE ledger_held_event SET seq = 40 WHERE seq = 80",
    "UPDATE ledger_bundle SET leaf_hashes = NULL WHERE first_seq = 0",
    "DELETE FROM ledger_bundle WHERE first_seq = 600",
    "DELETE FROM ledger_tile",
    "UPDATE ledger_tile SET hashes = (SELECT root FROM ledger_head)",
    "UPDATE ledger_head SET size = 699",
    "UPDATE ledger_head SET size = 40, frontier = (SELECT root FROM ledger_head)",
    "UPDATE ledger_head SET root = frontier",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_does_not_hold_is_not_answered(ledger: Check, damage: str) -> None:
    """A text, a leaf, a tile, a row or the head that is not as it was recorded: an error, never a proof."""
    fill(700, 100)
    pruning.prune(LATER, holds=MALLORY)
    prove(40)
    with connection.cursor() as cursor:
        if "SET seq" in damage:
            cursor.execute("DELETE FROM ledger_held_event WHERE seq = 40")
        cursor.execute(damage)
        assert cursor.rowcount > 0
    with pytest.raises(IntegrityError):
        prove(40)


def test_a_tree_that_is_whole_in_itself_is_not_the_heads(ledger: Check) -> None:
    """Who rewrites an event with all leaves and tiles above it, but not the head, is found out at every size."""
    fill(600, 100)
    with connection.cursor() as cursor:
        cursor.execute("SELECT root, frontier FROM ledger_head")
        root, frontier = map(bytes, cursor.fetchone())
        cursor.execute("UPDATE ledger_head SET size = 0, root = %s, frontier = %s", [sha256(b"").digest(), b""])
        for table in ("ledger_bundle", "ledger_tile"):
            cursor.execute(f"DELETE FROM {table}")
    fill(600, 100)  # other nonces, so other leaves
    prove(40, 300)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_head SET root = %s, frontier = %s", [root, frontier])
    for size in (None, 41, 300, 512, 600):
        with pytest.raises(IntegrityError):
            prove(40, size)


def test_what_became_of_other_held_events_is_nothing_to_a_proof(ledger: Check) -> None:
    """The leaf hashes of a pruned bundle stand by themselves."""
    tree = fill(300, 100)
    pruning.prune(LATER, holds=MALLORY)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_held_event SET what = who WHERE seq = 80")
        cursor.execute("DELETE FROM ledger_held_event WHERE seq = 120")
    assert_proved(tree, 40)


def test_a_proof_waits_for_no_writer(ledger: Check) -> None:
    """While another transaction has appended and not committed, a proof of the log before it is answered."""
    tree = fill(300, 100)
    is_appended, may_end = threading.Event(), threading.Event()

    def append_slowly() -> None:
        try:
            with transaction.atomic():
                append([make_event(1)], now_us=NOW_US)
                is_appended.set()
                may_end.wait(60)
        finally:
            connection.close()

    thread = threading.Thread(target=append_slowly)
    thread.start()
    try:
        assert is_appended.wait(60)
        assert_proved(tree, 40)
    finally:
        may_end.set()
        thread.join()
    assert prove(40).size == 301


def test_a_snapshot_is_of_one_moment(ledger: Check) -> None:
    """What others commit meanwhile is not seen inside, and is afterwards; it is no part of a transaction."""
    fill(3, 3)

    def elsewhere() -> None:
        try:
            commit([make_event(1)])
        finally:
            connection.close()

    with snapshot():
        assert reader.head().size == 3
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert reader.head().size == 3
    assert reader.head().size == 4
    with transaction.atomic(), pytest.raises(RuntimeError), snapshot():
        pass
    with pytest.raises(ZeroDivisionError), snapshot():
        assert reader.head().size / 0
    commit([make_event(1)])


def test_proofs_at_every_moment(ledger: Check) -> None:
    """While the log grows, is compacted and pruned, each answer is of one moment: size, root and proof belong together."""
    fill(4000, 40)
    done, failures, roots = threading.Event(), list[str](), dict[int, bytes]()

    def read() -> None:
        try:
            number = 0
            while not done.is_set():
                number += 1
                proven = prove(number * 40 % 4000)
                roots[proven.size] = proven.root
        except Exception as error:  # noqa: BLE001
            failures.append(repr(error))
        finally:
            connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    for n in range(30):
        commit([make_event(n)] * 9)
    compact()
    pruning.prune(LATER, holds=MALLORY)
    done.set()
    thread.join()
    assert failures == []
    leaves = [leaf for bundle in reader.stored_range(0, reader.head().size) for leaf in bundle.leaf_hashes()]
    assert held.totals().events > 90
    assert roots == {size: naive_root(leaves[:size]) for size in roots}
    ledger()
