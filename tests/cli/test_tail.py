"""tail and a query that means few events of a long log."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command

from opssentinal.commands.management.commands import tail
from opssentinal.ledger import reader
from opssentinal.query import Filter, parse
from tests.exports.conftest import Back, back, events, ledger, record_events

__all__ = ["back", "ledger"]


def _shown(capsys: pytest.CaptureFixture[str], *args: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    call_command("tail", *args, "--json", stdout=io.StringIO())
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_few_events_are_not_looked_for_in_all_of_the_log(
    back: Back, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running server's search knows them, or that there are none; what is shown is what the log itself would give."""
    record_events(events(700)[::-1])
    rare = ("actor:usr_3*", "-n", "9")
    asked = _shown(capsys, *rare)
    back.stop()
    assert asked == _shown(capsys, *rare)
    assert [event["seq"] for event in asked] == sorted(event["seq"] for event in asked)
    assert len(asked) == 9
    back.start()
    monkeypatch.setattr(reader, "newest", lambda *_: pytest.fail("the log is read back"))
    assert _shown(capsys, "action:nothing.here") == []
    assert [event["actor"]["id"] for event in _shown(capsys, "actor:usr_7")] == ["usr_7"]


def test_more_than_a_page_of_them_come_from_the_log(back: Back, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest by their place in the log, which search does not order by."""
    record_events(events(700)[::-1])
    assert [event["actor"]["id"] for event in _shown(capsys, "actor:usr_*", "-n", "2")] == ["usr_1", "usr_0"]


def test_who_follows_without_search_does_not_wait_for_the_whole_log(
    back: Back, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look back ends after so many events, and says so; without -f it goes as far as it takes."""
    record_events(events(700))
    back.stop()
    monkeypatch.setattr(tail, "_AT_ONCE", 100)
    monkeypatch.setattr(tail, "_FOLLOWED_BACK_MAX", 300)
    first, size = parse("actor:usr_0"), reader.head().size
    assert tail._newest(1, size, first, is_following=True) == []
    assert "newest 300 events" in capsys.readouterr().err
    assert [event.seq for event in tail._newest(1, size, first, is_following=False)] == [0]
    assert len(tail._newest(500, size, Filter(), is_following=True)) == 500
