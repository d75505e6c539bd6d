"""A bundle: consecutive events as one row of the ledger, three compressed columns with a line per event."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import zstandard

from opssentinal.errors import IntegrityError
from opssentinal.events.encoding import EncodedEvent, decode_recorded
from opssentinal.events.model import RecordedEvent
from opssentinal.merkle import HASH_BYTES, leaf_hashes

COLUMNS = "first_seq, count, recorded_from_us, recorded_to_us, heads, whos, whats, leaf_hashes"
_TEXT_BYTES_MAX = 1 << 30
_local = threading.local()


@dataclass(frozen=True, slots=True)
class Bundle:
    """Events `first_seq` up to but not including `end_seq`, as stored lines. `heads` is empty where it is pruned."""

    first_seq: int
    count: int
    recorded_from_us: int
    recorded_to_us: int
    heads: list[bytes]
    whos: list[bytes]
    whats: list[bytes]
    pruned_leaf_hashes: bytes = b""

    @property
    def end_seq(self) -> int:
        """The seq after the last event."""
        return self.first_seq + self.count

    @property
    def is_pruned(self) -> bool:
        """Whether the text is gone and only the leaf hashes stand."""
        return not self.heads

    def since(self, seq: int) -> Bundle:
        """The part from `seq` on; the bundle itself where it begins there or later."""
        skip = seq - self.first_seq
        if skip <= 0:
            return self
        return Bundle(
            seq, self.count - skip, self.recorded_from_us, self.recorded_to_us,
            self.heads[skip:], self.whos[skip:], self.whats[skip:], self.pruned_leaf_hashes[skip * HASH_BYTES :],
        )  # fmt: skip

    def until(self, seq: int) -> Bundle:
        """The part before `seq`; the bundle itself where it ends there or earlier."""
        count = seq - self.first_seq
        if count >= self.count:
            return self
        return Bundle(
            self.first_seq, count, self.recorded_from_us, self.recorded_to_us,
            self.heads[:count], self.whos[:count], self.whats[:count], self.pruned_leaf_hashes[: count * HASH_BYTES],
        )  # fmt: skip

    def lines(self, seq: int) -> EncodedEvent:
        """The stored lines of the event at `seq`, which lies in the bundle and is not pruned."""
        at = seq - self.first_seq
        return EncodedEvent(self.heads[at], self.whos[at], self.whats[at])

    def event(self, seq: int) -> RecordedEvent:
        """The event at `seq`, which lies in the bundle and is not pruned."""
        return decode_recorded(seq, *self.lines(seq))

    def events(self) -> Iterator[RecordedEvent]:
        """The events in order; none where the bundle is pruned."""
        return map(decode_recorded, range(self.first_seq, self.end_seq), self.heads, self.whos, self.whats)

    def leaf_hashes(self) -> list[bytes]:
        """The leaf hashes, recomputed from the text while there is text."""
        if self.is_pruned:
            kept = self.pruned_leaf_hashes
            return [kept[at : at + HASH_BYTES] for at in range(0, len(kept), HASH_BYTES)]
        return leaf_hashes(EncodedEvent(*lines).entry for lines in zip(self.heads, self.whos, self.whats, strict=True))


def pack(lines: bytes, level: int = 1) -> bytes:
    """Compress lines (none of which holds a newline, JSON being written on one line), joined by newlines, into a column."""
    compressors: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    compressor = compressors.get(level)
    if compressor is None:
        # A compressor keeps state while it works and so belongs to one thread.
        compressor = compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressor.compress(lines)


def unpack(column: bytes) -> list[bytes]:
    """The lines of a column. Raises IntegrityError where it cannot be decompressed."""
    decompressor = _local.__dict__.get("decompressor")
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    try:
        return decompressor.decompress(column, max_output_size=_TEXT_BYTES_MAX).split(b"\n")
    except zstandard.ZstdError as error:
        raise IntegrityError(f"A bundle cannot be decompressed: {error}.", hint="Run opssentinal fsck.") from error


def from_row(row: tuple[Any, ...]) -> Bundle:
    """Read a row of `COLUMNS`. Raises IntegrityError where the columns disagree in length."""
    first_seq, count, recorded_from_us, recorded_to_us, heads, whos, whats, hashes = row
    if heads is None:
        kept = bytes(hashes or b"")
        if len(kept) != count * HASH_BYTES:
            raise IntegrityError(f"The pruned bundle at seq {first_seq} has not one leaf hash per event.")
        return Bundle(first_seq, count, recorded_from_us, recorded_to_us, [], [], [], kept)
    head_lines, who_lines, what_lines = (unpack(bytes(column)) for column in (heads, whos, whats))
    if not len(head_lines) == len(who_lines) == len(what_lines) == count:
        raise IntegrityError(
            f"The bundle at seq {first_seq} does not hold {count} events.", hint="Run opssentinal fsck."
        )
    return Bundle(first_seq, count, recorded_from_us, recorded_to_us, head_lines, who_lines, what_lines)
