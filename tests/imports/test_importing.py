"""Importing into the log: every record once, whatever happens on the way, and the import itself on record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from opssentinal.events.model import Actor
from opssentinal.imports import importing
from opssentinal.imports.formats import FORMATS
from opssentinal.imports.importing import Import, Tally
from opssentinal.imports.reading import Broken, Record, read_records
from opssentinal.ledger.reader import head, newest

SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "cloudtrail-sample.json"
WHO = Actor(type="os_user", id="alice@ops-1", name="alice")


def _run(path: Path = SAMPLE, format: str = "cloudtrail", **options: object) -> Tally:
    run = Import(FORMATS[format], **options)  # type: ignore[arg-type]
    run.take(read_records(path))
    run.flush()
    run.record(WHO, files=[str(path)])
    return run.tally


def _event(number: int, **changes: object) -> dict[str, object]:
    event = {
        "id": f"01920000-0000-7000-8000-{number:012d}",
        "action": "invoice.paid",
        "actor": {"type": "service", "id": "billing"},
        "source": "billing",
    }
    return event | changes


def _lines(path: Path, *events: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_every_record_becomes_one_event_and_the_import_another(ledger: Callable[[], None]) -> None:
    """The sample's records and one events.imported with the counts are in the log, by whoever imported."""
    tally = _run()
    assert (tally.accepted, tally.is_clean, head().size) == (36, True, 37)
    last = newest(1)[0]
    assert (last.action, last.actor, last.source) == ("events.imported", WHO, "opssentinal")
    assert last.metadata["accepted"] == 36
    assert last.metadata["first_files"] == [str(SAMPLE)]
    ledger()


def test_again_adds_nothing_but_its_record(ledger: Callable[[], None]) -> None:
    """A second run finds every event there already; that somebody ran it is recorded with what it found."""
    _run()
    tally = _run()
    assert (tally.accepted, tally.duplicates, tally.is_clean, head().size) == (0, 36, True, 38)
    last = newest(1)[0]
    assert (last.action, last.metadata["accepted"], last.metadata["duplicates"]) == ("events.imported", 0, 36)


def test_batches_do_not_show(ledger: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Records come in order and whole however they are cut into transactions."""
    monkeypatch.setattr(importing, "BATCH_EVENTS_MAX", 7)
    assert _run().accepted == 36
    times = [event.occurred_at for event in newest(37)[::-1][:-1]]
    assert times == sorted(times)
    ledger()


def test_an_interrupted_import_goes_on(ledger: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was appended before an interruption is not appended again, and the rest is."""
    monkeypatch.setattr(importing, "BATCH_EVENTS_MAX", 10)
    run = Import(FORMATS["cloudtrail"])
    items = list(read_records(SAMPLE))
    run.take(items[:25])  # two batches are appended, five records wait when it ends
    assert head().size == 20
    tally = _run()
    assert (tally.accepted, tally.duplicates) == (16, 20)
    ledger()


def test_bad_lines_are_reported_and_good_ones_kept(ledger: Callable[[], None], tmp_path: Path) -> None:
    """Each bad line is told with its place and reason; those around it are in the log."""
    path = _lines(tmp_path / "in.ndjson", _event(1), _event(2, surplus=1), _event(3, occurred_at="2026-01-01T00:00:00"))
    path.write_text(path.read_text() + "oops\n" + json.dumps(_event(4)) + "\n")
    told: list[tuple[str, str]] = []
    tally = _run(path, "ndjson", refused=lambda place, reason: told.append((place, reason)))
    assert (tally.accepted, tally.rejected, tally.is_clean) == (2, 3, False)
    assert [place for place, _ in told] == [f"{path}:2", f"{path}:3", f"{path}:4"]
    assert "surplus" in told[0][1]
    assert told[1][1].startswith("$.occurred_at")
    assert tally.reasons == told


def test_another_event_under_the_same_id_is_a_conflict(ledger: Callable[[], None], tmp_path: Path) -> None:
    """The recorded event stays as it is, and the other one is reported with the seq of the recorded one."""
    path = _lines(tmp_path / "in.ndjson", _event(1), _event(1, outcome="failure"))
    tally = _run(path, "ndjson")
    assert (tally.accepted, tally.conflicts, tally.is_clean) == (1, 1, False)
    assert "seq 0" in tally.reasons[0][1]
    ledger()


def test_source_and_tenant_can_be_replaced(ledger: Callable[[], None], tmp_path: Path) -> None:
    """What the command line says stands in place of what the events say."""
    _run(_lines(tmp_path / "in.ndjson", _event(1)), "ndjson", source="legacy", tenant="acme")
    event = newest(2)[1]
    assert (event.source, event.tenant) == ("legacy", "acme")


def test_an_event_without_a_source_is_from_import(ledger: Callable[[], None], tmp_path: Path) -> None:
    """Nobody else's name is put on an event that names no source."""
    event = _event(1)
    del event["source"]
    _run(_lines(tmp_path / "in.ndjson", event), "ndjson")
    assert newest(2)[1].source == "import"


def test_nobody_speaks_for_the_product(ledger: Callable[[], None], tmp_path: Path) -> None:
    """Imported events cannot pass for the product's own."""
    tally = _run(_lines(tmp_path / "in.ndjson", _event(1, source="opssentinal")), "ndjson")
    assert (tally.accepted, tally.rejected) == (0, 1)
    assert [event.action for event in newest(9)] == ["events.imported"]


def test_a_dry_run_writes_nothing(ledger: Callable[[], None]) -> None:
    """Everything is read and counted, and the log stays as it was."""
    assert _run(is_dry_run=True).accepted == 36
    assert head().size == 0


def test_only_the_first_reasons_are_kept(ledger: Callable[[], None]) -> None:
    """A million bad lines do not fill the memory with reasons; they are all counted."""
    run = Import(FORMATS["ndjson"])
    run.take(Broken(f"x:{number}", "bad") if number else Record("x:0", b"{}") for number in range(500))
    assert run.tally.rejected == 500
    assert len(run.tally.reasons) == importing.REASONS_MAX
