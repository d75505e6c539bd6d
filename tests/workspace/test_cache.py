"""What is kept for a while is kept for that while, also when the wall clock is set in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache
from django.test import Client

from opssentinal.workspace.models import User
from tests.workspace.conftest import PASSWORD

Set = Callable[[float, float], None]
_YEAR_S = 366 * 86_400


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Set]:
    """Set the wall clock and the one that measures, in seconds ahead of what they are."""
    wall, steady = time.time, time.monotonic

    def set_ahead(wall_s: float, steady_s: float) -> None:
        monkeypatch.setattr(time, "time", lambda: wall() + wall_s)
        monkeypatch.setattr(time, "monotonic", lambda: steady() + steady_s)

    yield set_ahead


@pytest.mark.parametrize("wall_s", [-_YEAR_S, 0, _YEAR_S])
def test_the_wall_clock_is_nothing_to_it(clocks: Set, wall_s: float) -> None:
    """A minute is a minute by the clock that measures; None stays for ever and 0 is gone at once."""
    for name, timeout in (("minute", 60), ("always", None), ("never", 0)):
        cache.set(name, name, timeout)
    clocks(wall_s, 58)
    assert [cache.get(name) for name in ("minute", "always", "never")] == ["minute", "always", None]
    assert not cache.add("minute", "another", 60)
    clocks(wall_s, 61)
    assert [cache.get(name) for name in ("minute", "always", "never")] == [None, "always", None]
    assert cache.add("minute", "another", 60)


def test_a_lock_out_ends_after_the_clock_was_ahead(clocks: Set, alice: User) -> None:
    """Wrong passwords while the clock was a year ahead lock the account for minutes, not until it is that year."""
    clocks(_YEAR_S, 0)
    for _ in range(20):
        _sign_in("wrong")
    clocks(0, 0)
    assert not _sign_in(PASSWORD), "the lock-out does not end because a clock is set"
    clocks(0, 3600)
    assert _sign_in(PASSWORD)


def _sign_in(password: str) -> bool:
    client = Client()
    client.post("/accounts/login/", {"login": "alice@example.com", "password": password})
    return "_auth_user_id" in client.session
