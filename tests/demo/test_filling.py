"""`opssentinal demo` with real processes: it fills, goes on after a kill, does nothing twice, and never touches real data."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from pathlib import Path

import msgspec
import pysqlite3
import pytest

from opssentinal import config
from opssentinal.demo.filling import EMAIL, Mark, events_of
from opssentinal.demo.world import build_world
from tests.cli.conftest import command, environment, run

_SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "cloudtrail-sample.json"


def _demo(data_dir: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return run("demo", "--json", *args, data_dir=data_dir)


def _mark(data_dir: Path) -> Mark:
    return msgspec.json.decode((data_dir / config.DEMO_MARK).read_bytes(), type=Mark)


def _expected(mark: Mark) -> int:
    """The invented events, and user.created of the demo account."""
    world = build_world(mark.seed, mark.end.date(), mark.days)
    return 1 + sum(len(events) for _, events in events_of(world, mark.end))


def test_it_fills_once(tmp_path: Path) -> None:
    """The log has the invented events, is whole, and running it again prints the same login and adds nothing."""
    first = json.loads(_demo(tmp_path, "--days", "2").stdout)
    again = json.loads(_demo(tmp_path).stdout)
    assert first["size"] == again["size"] == _expected(_mark(tmp_path))
    assert (first["email"], again["password"]) == (EMAIL, first["password"])
    assert (first["appended"], again["appended"]) == (first["size"] - 1, 0)
    assert run("fsck", data_dir=tmp_path).returncode == 0


def test_the_incidents_that_events_speak_of_are_there(tmp_path: Path) -> None:
    """Incidents of the invented world have rows of the same number and name, with events of theirs; filling again adds none."""
    mark = json.loads(_demo(tmp_path, "--days", "5").stdout) and _mark(tmp_path)
    world = build_world(mark.seed, mark.end.date(), mark.days)
    _demo(tmp_path)
    connection = pysqlite3.connect(tmp_path / "opssentinal.sqlite3")
    rows = connection.execute("SELECT number, title, status FROM incidents_incident").fetchall()
    [(attached,)] = connection.execute("SELECT count(*) FROM incidents_attachedevent").fetchall()
    [(last,)] = connection.execute("SELECT last FROM incidents_counter").fetchall()
    connection.close()
    known = {(target.id, target.name) for _, target in world.incidents}
    assert len(rows) >= 5 and len({status for _, _, status in rows}) > 1
    assert {(f"incident_{number}", title) for number, title, _ in rows} <= known
    assert attached > 0
    assert f"incident_{last}" == max((target.id for _, target in world.incidents), key=lambda id_: int(id_[9:]))


def test_the_directory_knows_that_it_is_a_demo(tmp_path: Path) -> None:
    """Whoever serves the directory sees the banner without having to say so; the mark is nobody else's to read."""
    environ = {"OPSSENTINAL_DATA_DIR": str(tmp_path)}
    assert config.load(environ).demo is False
    assert _demo(tmp_path, "--days", "1").returncode == 0
    assert config.load(environ).demo is True
    assert stat.S_IMODE((tmp_path / config.DEMO_MARK).stat().st_mode) == 0o600


def test_the_printed_login_is_an_admins(tmp_path: Path) -> None:
    """The password that was printed is that of an active admin."""
    password = json.loads(_demo(tmp_path, "--days", "1").stdout)["password"]
    code = (
        "from opssentinal.workspace.models import User; "
        f"user = User.objects.get(email={EMAIL!r}); print(user.check_password({password!r}), user.is_admin, user.is_active)"
    )
    done = run("django", "shell", "--verbosity", "0", "-c", code, data_dir=tmp_path)
    assert done.stdout.split() == ["True", "True", "True"], done.stderr


def test_killed_and_run_again_it_goes_on(tmp_path: Path) -> None:
    """After kill -9 in the middle the next run appends what is missing and nothing twice."""
    process = subprocess.Popen(
        command("demo", "--days", "25"), env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while _size(tmp_path) <= 0:
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail("it ended before it could be killed")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not _mark(tmp_path).is_complete
    done = json.loads(_demo(tmp_path).stdout)
    assert 0 < done["appended"] < done["size"] - 1
    assert done["size"] == _expected(_mark(tmp_path))
    assert run("fsck", data_dir=tmp_path).returncode == 0


def _size(data_dir: Path) -> int:
    """How many events there are, looked at from outside; 1 is the demo account's, which counts as none."""
    if not (data_dir / "opssentinal.sqlite3").exists():
        return 0
    database = pysqlite3.connect(data_dir / "opssentinal.sqlite3")
    try:
        return int(database.execute("SELECT size FROM ledger_head").fetchone()[0]) - 1
    except (pysqlite3.OperationalError, TypeError):  # the tables, or the head's row, are still being made
        return 0
    finally:
        database.close()


def _recorded(data_dir: Path) -> list[str]:
    """Every event as JSON but those of looking at the log, which this is."""
    lines = run("tail", "--limit", "1000", "--json", data_dir=data_dir).stdout.splitlines()
    return [line for line in lines if '"audit_log.viewed"' not in line]


@pytest.mark.parametrize("real", ["user", "events"])
def test_real_data_is_refused(tmp_path: Path, real: str) -> None:
    """A directory with an account or an event that no demo made is left exactly as it is."""
    assert run("migrate", data_dir=tmp_path).returncode == 0
    if real == "user":
        args = ["createuser", "alice@example.com", "--password-stdin"]
        done = run(*args, data_dir=tmp_path, input="correct horse battery staple\n")
    else:
        done = run("import", "cloudtrail", str(_SAMPLE), data_dir=tmp_path)
    assert done.returncode == 0, done.stderr
    before = _recorded(tmp_path)
    refused = _demo(tmp_path)
    assert refused.returncode == 1
    assert "real" in refused.stderr
    assert _recorded(tmp_path) == before
    assert not (tmp_path / config.DEMO_MARK).exists()


def test_it_does_not_fall_into_the_default_directory(tmp_path: Path) -> None:
    """Without a directory named, the demo makes ./demo-data and leaves ./data alone."""
    env = environment(tmp_path)
    del env["OPSSENTINAL_DATA_DIR"]
    done = subprocess.run(
        command("demo", "--days", "1"), env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["demo-data"]
    assert f"Sign in as {EMAIL} with the password {_mark(tmp_path / 'demo-data').password}" in done.stdout
