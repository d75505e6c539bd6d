"""Finding records in files: every shape people have, and every way a file can be broken."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opssentinal.errors import InvalidInput, NotFound
from opssentinal.imports import reading
from opssentinal.imports.reading import Broken, Record, find_files, read_records

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_records = st.lists(st.dictionaries(st.text(), _json, max_size=4), max_size=8)


def _read(path: Path) -> list[Record | Broken]:
    return list(read_records(path))


def _values(path: Path) -> list[Any]:
    items = _read(path)
    assert all(isinstance(item, Record) for item in items), items
    return [json.loads(item.raw) for item in items if isinstance(item, Record)]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(records=_records, chunk=st.integers(1, 200), indent=st.none() | st.integers(0, 3), ascii=st.booleans())
def test_records_of_an_array_survive_any_portioning(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any], chunk: int, indent: int | None, ascii: bool
) -> None:
    """AWS's shape gives back its records however the file is laid out and wherever the portions it is read in end."""
    path = tmp_path_factory.mktemp("array") / "log.json"
    path.write_text(json.dumps({"Records": records}, indent=indent, ensure_ascii=ascii), "utf-8", "surrogatepass")
    with mock.patch.object(reading, "_CHUNK", chunk), mock.patch.object(reading, "_START", 40 + chunk):
        items = _read(path)
    texts = [item.raw.decode("utf-8", "surrogatepass") for item in items if isinstance(item, Record)]
    assert [json.loads(text) for text in texts] == records
    assert len(items) == len(records)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1}\n{"a": 2}\n',
        b'\xef\xbb\xbf{"a": 1}\r\n\r\n  {"a": 2}',
        b'{"Records": [{"a": 1}, {"a": 2}]}',
        b'\xef\xbb\xbf{\n  "Records" : [\n{"a": 1},{"a": 2}\n]\n}\n',
        b'[{"a": 1}, {"a": 2}]',
    ],
)
@pytest.mark.parametrize("is_gzipped", [False, True])
def test_shapes(tmp_path: Path, text: bytes, is_gzipped: bool) -> None:
    """Lines and arrays, with or without byte order mark, CRLF and gzip, hold the same records."""
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(text) if is_gzipped else text)
    assert _values(path) == [{"a": 1}, {"a": 2}]


def test_lines_are_numbered_as_an_editor_numbers_them(tmp_path: Path) -> None:
    """The place of a record names the file and its line, empty lines counted."""
    path = tmp_path / "log.ndjson"
    path.write_bytes(b'{"a": 1}\n\n{"a": 2}\n')
    assert [item.place for item in _read(path)] == [f"{path}:1", f"{path}:3"]


def test_a_line_that_is_too_long_costs_only_itself(tmp_path: Path) -> None:
    """A line over the limit is reported and skipped; the one after it is read."""
    path = tmp_path / "log.ndjson"
    path.write_bytes(b'{"a": 1}\n"' + b"x" * (reading.RECORD_BYTES_MAX * 2) + b'"\n{"a": 2}\n')
    first, long, last = _read(path)
    assert isinstance(first, Record)
    assert isinstance(long, Broken)
    assert long.place == f"{path}:2"
    assert isinstance(last, Record)


@pytest.mark.parametrize("cut", ['{"Records":[{"a":1},{"a":2', '{"Records":[{"a":1},', '{"Records":[{"a":1}'])
def test_a_file_cut_off_gives_what_it_has(tmp_path: Path, cut: str) -> None:
    """Records before the cut are read, and that something is missing is reported."""
    path = tmp_path / "log.json"
    path.write_text(cut)
    first, broken = _read(path)
    assert isinstance(first, Record)
    assert json.loads(first.raw) == {"a": 1}
    assert isinstance(broken, Broken)


def test_damage_inside_an_array_is_reported_with_the_number_of_the_record(tmp_path: Path) -> None:
    """What is no JSON ends the reading of an array, and says where."""
    path = tmp_path / "log.json"
    path.write_text('{"Records":[{"a":1},{"a":oops},{"a":3}]}')
    first, broken = _read(path)
    assert isinstance(first, Record)
    assert isinstance(broken, Broken)
    assert broken.place == f"{path}: record 2"


@pytest.mark.parametrize("text", ['{"Records":null}', '{"Records":{"a":[1]}}', '{"Records":"x [1]"}'])
def test_records_that_are_no_list(tmp_path: Path, text: str) -> None:
    """A file whose Records are something else is reported, not guessed at."""
    path = tmp_path / "log.json"
    path.write_text(text)
    (broken,) = _read(path)
    assert isinstance(broken, Broken)


def test_a_damaged_gzip_file_gives_what_can_be_read(tmp_path: Path) -> None:
    """The records before the damage are kept, also where only the checksum at the very end is wrong."""
    whole = gzip.compress(b'{"Records":[{"a":1}]}')
    path = tmp_path / "log.json.gz"
    for damaged in (whole[:-4], whole[:-8] + b"\0\0\0\0" + whole[-4:]):
        path.write_bytes(damaged)
        first, broken = _read(path)
        assert isinstance(first, Record)
        assert isinstance(broken, Broken)
        assert "1 records" in broken.reason


def test_folders_hold_their_logs_and_not_the_digests(tmp_path: Path) -> None:
    """Every log file below a folder is found, in order; AWS's digest files, which are signed hashes, are passed over."""
    base = tmp_path / "AWSLogs" / "111122223333"
    for name in ("CloudTrail/eu/b.json.gz", "CloudTrail/eu/a.JSON", "CloudTrail-Digest/eu/d.json.gz", "readme.txt"):
        file = base / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    found = [str(path.relative_to(base)) for path in find_files([str(tmp_path)])]
    assert found == ["CloudTrail/eu/a.JSON", "CloudTrail/eu/b.json.gz"]


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    """A missing path and a folder with nothing to import are errors before anything is read."""
    with pytest.raises(NotFound):
        find_files([str(tmp_path / "nothing.json")])
    with pytest.raises(InvalidInput):
        find_files([str(tmp_path)])


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    """Naming a folder and a file in it does not read the file twice."""
    (tmp_path / "a.json").touch()
    assert find_files([str(tmp_path), str(tmp_path / "a.json")]) == [tmp_path / "a.json"]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file of 30 MB is read in a few: only one portion of it is in memory at a time."""
    path = tmp_path / "log.json"
    record = json.dumps({"text": "x" * 3000})
    path.write_text('{"Records":[' + ",".join([record] * 10_000) + "]}")
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_records(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 10_000
    assert peak < 12_000_000


def test_progress_adds_up_to_the_size_of_the_file(tmp_path: Path) -> None:
    """What progress is told adds up to the bytes on disk, which for a gzipped file are the compressed ones."""
    path = tmp_path / "log.json.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 50_000))
    told: list[int] = []
    list(read_records(path, told.append))
    assert sum(told) == path.stat().st_size
