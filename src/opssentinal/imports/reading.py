"""Files → records: finds the JSON records in what people have on disk, in constant memory.

Two shapes: one record per line, and AWS's own files, one object whose `Records` holds them all. Either may be gzipped,
and folders are read with everything below them. What cannot be read is a `Broken` record with its place and reason, so
that one bad line never costs the good ones around it.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from opssentinal.errors import InvalidInput, NotFound

RECORD_BYTES_MAX = 4 * 1024 * 1024
SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
STDIN = "-"
# AWS keeps these beside the logs: signed hashes of the log files, not events.
_DIGEST_FOLDER = "CloudTrail-Digest"
_START = 64 * 1024
_CHUNK = 1024 * 1024
_UNREADABLE = (OSError, EOFError, zlib.error)


class Record(NamedTuple):
    """The JSON text of one record; `place` is where it stands, such as `a.json.gz:12`."""

    place: str
    raw: bytes


class Broken(NamedTuple):
    """What stands at `place` is no record, for this `reason`."""

    place: str
    reason: str


def find_files(paths: list[str]) -> list[Path]:
    """The files that are meant: each path, and of a folder every file below it whose name ends like JSON, in order.

    `-` is standard input. Raises NotFound for a path that is not there, and InvalidInput for a folder without such files.
    """
    found: dict[Path, None] = {}
    for text in paths:
        path = Path(text)
        if text == STDIN or path.is_file():
            found[path] = None
        elif path.is_dir():
            below = sorted(each for each in path.rglob("*") if each.name.lower().endswith(SUFFIXES) and each.is_file())
            if not below:
                raise InvalidInput(f"{path} holds no files to import.", hint=f"Looked for {', '.join(SUFFIXES)}.")
            found.update((each, None) for each in below if _DIGEST_FOLDER not in each.relative_to(path).parts)
        elif path.exists():  # a named pipe
            found[path] = None
        else:
            raise NotFound(f"There is no file or folder {path}.")
    return list(found)


def shown(path: Path) -> str:
    """The name of a file as text; bytes of it that are no UTF-8 are spelled out."""
    return "standard input" if str(path) == STDIN else os.fsencode(path).decode("utf-8", "backslashreplace")


def read_records(path: Path, advanced: Callable[[int], None] | None = None) -> Iterator[Record | Broken]:
    """The records of one file, in order. `advanced` is told how many bytes of the file were read since it was last told.

    Never raises for what a file holds; a file that cannot be read on ends with a Broken record.
    """
    name = shown(path)
    count = 0
    try:
        with _opened(path, advanced) as stream:
            for item in _items(stream, name):
                count += 1
                yield item
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield Broken(name, f"cannot be read{' on after ' + format(count, ',') + ' records' if count else ''}: {reason}")


def _opened(path: Path, advanced: Callable[[int], None] | None) -> IO[bytes]:
    file: IO[bytes] = sys.stdin.buffer if str(path) == STDIN else path.open("rb", buffering=0)

    def read(count: int) -> bytes:
        found = file.read(count) or b""
        if advanced is not None:
            advanced(len(found))  # compressed bytes, which is what the size of a file counts
        return found

    close = file.close if file is not sys.stdin.buffer else lambda: None
    stream = io.BufferedReader(_Source(read, close), _START)
    if stream.peek(2)[:2] != b"\x1f\x8b":
        return stream
    unzipped = gzip.GzipFile(fileobj=stream, mode="rb")
    return io.BufferedReader(_Source(unzipped.read1, stream.close), _START)


class _Source(io.RawIOBase):
    """A raw stream made of two functions, which fills what it is given, so that the start of a pipe is seen whole.

    Where a file is damaged, what comes before the damage is given first, and the error with the next reading.
    """

    def __init__(self, read: Callable[[int], bytes], close: Callable[[], None]) -> None:
        self._read = read
        self._close = close
        self._failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        filled = 0
        while filled < len(buffer) and self._failure is None:
            try:
                found = self._read(len(buffer) - filled)
            except _UNREADABLE as error:
                self._failure = error
                break
            if not found:
                break
            buffer[filled : filled + len(found)] = found
            filled += len(found)
        if not filled and self._failure is not None:
            raise self._failure
        return filled

    def close(self) -> None:
        if not self.closed:
            self._close()
        super().close()


class _Text:
    """The text of a stream in portions; like _Source, it gives what it has before it raises."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")

    def read(self, count: int) -> str:
        """At least `count` characters, or what is left; nothing at the end."""
        parts: list[str] = []
        while count > 0:
            try:
                raw = self._stream.read1(_START)  # type: ignore[attr-defined]
            except _UNREADABLE:
                if parts:
                    break  # the source raises it again next time
                raise
            parts.append(self._decoder.decode(raw, final=not raw))
            count -= len(parts[-1])
            if not raw:
                break
        return "".join(parts)


def _items(stream: IO[bytes], name: str) -> Iterator[Record | Broken]:
    start = stream.peek(_START)[:_START].removeprefix(b"\xef\xbb\xbf").lstrip()  # type: ignore[attr-defined]
    return _array(stream, name) if _begins_array(start) else _lines(stream, name)


def _begins_array(start: bytes) -> bool:
    """Whether a file that begins so is an array of records, or an object that holds one under `Records`."""
    if start.startswith(b"["):
        return True
    if not start.startswith(b"{"):
        return False
    key, colon, _ = start[1:].lstrip().partition(b":")
    return bool(colon) and key.rstrip() == b'"Records"'


def _lines(stream: IO[bytes], name: str) -> Iterator[Record | Broken]:
    number = 0
    while line := stream.readline(RECORD_BYTES_MAX + 1):
        number += 1
        place = f"{name}:{number}"
        if len(line) > RECORD_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = stream.readline(_CHUNK)
            yield Broken(place, f"is longer than {RECORD_BYTES_MAX:,} bytes")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line := line.strip():
            yield Record(place, line)


def _array(stream: IO[bytes], name: str) -> Iterator[Record | Broken]:
    """The members of an array, each decoded by the standard library to find its end; the rest of the file stays unread.

    A member that does not parse may merely not have been read to its end: more is read, twice as much each time, so that
    the work stays linear, up to the greatest record there may be.
    """
    text = _Text(stream)
    scan = json.JSONDecoder().raw_decode
    opening, bracket, buffer = text.read(_START).partition("[")
    if not bracket or opening.partition(":")[2].strip():
        yield Broken(name, "Records is not a list")
        return
    at, number, more = 0, 0, _CHUNK
    while True:
        at = _past(buffer, at, " \t\r\n,")
        if buffer[at : at + 1] == "]":
            while text.read(_CHUNK):  # to its end, where gzip has its checksum
                pass
            return
        place = f"{name}: record {number + 1}"
        try:
            _, end = scan(buffer, at)
        except (ValueError, RecursionError):
            end = None
        if end is None or end == len(buffer):
            fresh = text.read(more)
            if fresh and len(buffer) - at <= RECORD_BYTES_MAX:
                buffer, at, more = buffer[at:] + fresh, 0, min(more * 2, RECORD_BYTES_MAX)
                continue
        if end is None:
            reason = (
                "is not JSON, nor can anything after it be read" if buffer[at:] else "is missing: the file is cut off"
            )
            yield Broken(place, reason)
            return
        number, more = number + 1, _CHUNK
        yield Record(place, buffer[at:end].encode("utf-8", "surrogateescape"))
        at = end


def _past(buffer: str, at: int, skipped: str) -> int:
    while at < len(buffer) and buffer[at] in skipped:
        at += 1
    return at
