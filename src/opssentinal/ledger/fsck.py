"""fsck: derive every leaf hash, tile, root and index row again from the stored text, and compare.

Shares nothing with the write path but the hash functions: what append() wrote, this computes in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db import connection

from opssentinal.errors import OpsSentinalError
from opssentinal.events.encoding import EncodedEvent
from opssentinal.events.model import RecordedEvent, to_us
from opssentinal.ledger import held
from opssentinal.ledger.bundle import COLUMNS, Bundle, from_row
from opssentinal.ledger.derivation import DerivedTree
from opssentinal.ledger.head import Head, head
from opssentinal.ledger.maintenance import maintenance
from opssentinal.merkle import TILE_WIDTH, leaf_hash

_PROBLEMS_MAX = 100


@dataclass
class FsckReport:
    """`size` entries were checked, `pruned` of them by their leaf hash alone; `unreadable` ones could not be.

    Of the pruned ones `held` are under a legal hold: their text was compared with their leaf hash.

    The log is sound where `problems` is empty.
    """

    size: int = 0
    unreadable: int = 0
    pruned: int = 0
    held: int = 0
    bundles: int = 0
    tiles: int = 0
    ids: int = 0
    root: bytes = b""
    problems: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether everything that was derived agrees with what is stored."""
        return not self.problems

    def problem(self, text: str) -> None:
        """Note a finding; the first hundred are kept, and then that there are more."""
        if len(self.problems) < _PROBLEMS_MAX:
            self.problems.append(text)
        elif len(self.problems) == _PROBLEMS_MAX:
            self.problems.append("There are more problems than these.")


def fsck(progress: Callable[[int, int], None] | None = None) -> FsckReport:
    """Check the whole log as it stands now; `progress` is told the entries done and to do.

    Appending goes on meanwhile, and what it adds is not looked at; compaction and pruning wait. Never raises for what it
    finds, only Overloaded where the maintenance lock is not to be had within a minute.
    """
    with maintenance(wait_s=60):
        return _fsck(FsckReport(), progress)


def _fsck(report: FsckReport, progress: Callable[[int, int], None] | None) -> FsckReport:
    try:
        top = head()
    except OpsSentinalError as error:
        report.problem(str(error))
        return report
    tree = DerivedTree(report.problem)
    newest_us = 0
    for first_seq, count, bundle in _bundles(report, top.size):
        leaves: list[bytes | None] = [None] * count
        if bundle is not None:
            newest_us = _check_bundle(report, bundle, top, newest_us)
            leaves = list(bundle.leaf_hashes())
        tree.add(leaves[: top.size - first_seq])
        report.bundles += 1
        if progress is not None:
            progress(tree.size, top.size)
    report.size, report.tiles = tree.size - report.unreadable, tree.tiles
    _check_head(report, top, tree)
    return report


def _bundles(report: FsckReport, size: int) -> Iterator[tuple[int, int, Bundle | None]]:
    """Every range of the log in order: first seq, length, and its bundle, or None where it is missing or cannot be read."""
    position = 0
    for row in _rows(size):
        first_seq, count = row[0], row[1]
        if first_seq != position:
            report.problem(f"After seq {position} the next bundle begins at {first_seq}.")
        if first_seq > position:
            report.unreadable += first_seq - position
            yield position, first_seq - position, None
        elif first_seq + count <= position:
            continue
        try:
            bundle = from_row(row).since(position)
        except OpsSentinalError as error:
            report.problem(f"Bundle at seq {first_seq}: {error.detail}")
            report.unreadable += count
            yield first_seq, count, None
        else:
            yield bundle.first_seq, bundle.count, bundle
        position = first_seq + count
    if position < size:
        report.problem(f"After seq {position} the log's last {size - position} events are missing.")
        report.unreadable += size - position
        yield position, size - position, None


def _rows(size: int) -> Iterator[tuple[Any, ...]]:
    position = -1
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {COLUMNS} FROM ledger_bundle WHERE first_seq > %s AND first_seq < %s ORDER BY first_seq LIMIT 16",
                [position, size],
            )
            rows = cursor.fetchall()
        if not rows:
            return
        yield from rows
        position = rows[-1][0]


def _check_bundle(report: FsckReport, bundle: Bundle, top: Head, newest_us: int) -> int:
    """Compare a bundle's text with its row, the minimum index and the id table; return its newest recorded_at."""
    place = f"Bundle at seq {bundle.first_seq}"
    if bundle.is_pruned:
        report.pruned += bundle.count
        if bundle.end_seq > top.minimum_index:
            report.problem(f"{place}: it is pruned although the minimum index is {top.minimum_index}.")
        _check_held(report, bundle)
        return bundle.recorded_to_us
    if bundle.first_seq < top.minimum_index:
        report.problem(f"{place}: it still has its text although the minimum index is {top.minimum_index}.")
    try:
        events = list(bundle.events())
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        report.problem(f"{place}: an event cannot be read: {error}")
        return newest_us
    times = [to_us(event.recorded_at) for event in events]
    if times != sorted(times) or times[0] < newest_us:
        report.problem(f"{place}: recorded_at runs backwards.")
    # The range of a bundle that compaction cut may be that of the bundles it came from: wider, never narrower.
    if times[0] < bundle.recorded_from_us or times[-1] > bundle.recorded_to_us:
        report.problem(f"{place}: its recorded_at range does not hold its events.")
    _check_ids(report, place, events)
    return times[-1]


def _check_held(report: FsckReport, bundle: Bundle) -> None:
    """Compare the held events of a pruned bundle with the leaf hashes that stand in it, and with their rows."""
    leaves = bundle.leaf_hashes()
    events: list[RecordedEvent] = []
    for row in held.in_range(bundle.first_seq, bundle.end_seq):
        place = f"Held event {row.seq}"
        report.held += 1
        if leaf_hash(EncodedEvent(row.head, row.who, row.what).entry) != leaves[row.seq - bundle.first_seq]:
            report.problem(f"{place}: its text is not that of its leaf.")
        try:
            event = row.event()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            report.problem(f"{place}: it cannot be read: {error}")
            continue
        events.append(event)
        if (event.id, to_us(event.recorded_at)) != (row.event_id, row.recorded_at_us):
            report.problem(f"{place}: its row has another id or time than its text.")
    if events:
        _check_ids(report, "Held events", events)


def _check_ids(report: FsckReport, place: str, events: list[RecordedEvent]) -> None:
    """Compare the id table with the events: each id in it leads to its event, and each id that a caller brought is in it.

    An id of ours is a UUIDv7 of its recorded_at, and is not in the table.
    """
    seqs = {(event.source, event.id.bytes): event.seq for event in events}
    expected = {
        (event.source, event.id.bytes)
        for event in events
        if event.id.version != 7 or event.id.int >> 80 != to_us(event.recorded_at) // 1000
    }
    with connection.cursor() as cursor:
        ids = [id_ for _, id_ in seqs]
        if connection.vendor == "postgresql":
            clause, params = "= ANY(%s::uuid[])", [[id_.hex() for id_ in ids]]
        else:
            clause, params = f"IN ({','.join(['%s'] * len(ids))})", ids  # type: ignore[assignment]
        cursor.execute(
            "SELECT s.name, e.event_id, e.seq FROM ledger_event_id e JOIN ledger_source s ON s.id = e.source_id "
            f"WHERE e.source_id IN (SELECT id FROM ledger_source) AND e.event_id {clause}",
            params,
        )
        for source, id_, seq in cursor.fetchall():
            key = (source, getattr(id_, "bytes", None) or bytes(id_))
            if key in seqs:  # the same id of another source stands elsewhere
                report.ids += 1
                expected.discard(key)
                if seqs[key] != seq:
                    report.problem(f"{place}: an id leads to seq {seq} instead of {seqs[key]}.")
    for key in sorted(expected, key=seqs.__getitem__):
        report.problem(f"{place}: the id of event {seqs[key]} is not in the index of ids.")


def _check_head(report: FsckReport, top: Head, tree: DerivedTree) -> None:
    frontier = tree.frontier()
    if frontier is not None:
        report.root = frontier.root()
    if tree.size != top.size:
        report.problem(f"The head says {top.size} entries, the bundles hold {tree.size}.")
    elif frontier is not None and frontier.root() != top.root:
        report.problem("The root derived from the events is not the head's.")
    elif frontier is not None and frontier != top.frontier:
        report.problem("The frontier derived from the events is not the head's.")
    if top.minimum_index % TILE_WIDTH or top.minimum_index > top.size:
        report.problem(f"The minimum index {top.minimum_index} is no multiple of {TILE_WIDTH} within the log.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ledger_held_event")
        kept = cursor.fetchone()[0]
        if kept != held.totals().events:
            report.problem(f"{kept} events are held, their total says {held.totals().events}.")
        if kept != report.held and not report.unreadable:
            report.problem(f"{kept - report.held} held events belong to no pruned bundle.")
        cursor.execute("SELECT count(*) FROM ledger_event_id WHERE seq < %s", [top.size])
        stored = cursor.fetchone()[0]
    if stored != report.ids and not report.unreadable:
        report.problem(f"{stored} ids are in the index of ids, {report.ids} of them belong to events that are there.")
