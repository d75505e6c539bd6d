"""The command itself: what it lists, how it ends, and what it says when something is wrong."""

from __future__ import annotations

import signal
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from opssentinal.__main__ import main
from opssentinal.commands.listing import COMMANDS
from tests.cli.conftest import Cli, command, environment, run


def _listed(text: str) -> list[str]:
    """The commands that the overview lists: the first words of its indented lines."""
    return [line.split()[0] for line in text.splitlines() if line.startswith("  ") and line.split()[0] != "opssentinal"]


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_lists_the_products_commands_and_no_others(args: list[str], tmp_path: Path) -> None:
    """Each command once, none of Django's, and nothing is made on disk for it."""
    done = run(*args, data_dir=tmp_path / "data")
    assert done.returncode == 0
    assert _listed(done.stdout) == list(COMMANDS)
    assert set(COMMANDS) == {
        "serve", "demo", "check", "import", "search", "tail", "export", "createuser", "user", "apikey", "fsck", "reindex",
        "prune", "cleanup", "migrate",
    }  # fmt: skip
    assert not (tmp_path / "data").exists()


def test_version() -> None:
    """The version is that of the distribution."""
    done = run("--version", data_dir=Path("/nowhere"))
    assert done.stdout == f"opssentinal {version('opssentinal')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_commands_help_has_its_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` shows usage and examples, and hides Django's options."""
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: opssentinal {name}")
    for line, meaning in COMMANDS[name].examples:
        assert line in shown
        assert meaning in shown
    assert "--pythonpath" not in shown


@pytest.mark.parametrize("args", [["import", "--help"], ["help", "tail"]])
def test_help_makes_nothing(args: list[str], tmp_path: Path) -> None:
    """Asking how a command is used needs no log and leaves no data directory behind."""
    done = run(*args, data_dir=tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("args", [["migrate"], ["demo", "--days", "1"]])
def test_what_a_command_makes_is_for_its_owner_alone(args: list[str], tmp_path: Path) -> None:
    """Also in a folder that others may enter and under a umask that lets them read."""
    tmp_path.chmod(0o755)
    assert run(*args, data_dir=tmp_path, umask=0o022).returncode == 0
    made = list(tmp_path.rglob("*"))
    assert made
    assert not [path for path in made if path.stat().st_mode & 0o077]


def test_a_mistyped_command_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    """A command that is none ends with 2 and names what was probably meant."""
    done = run("serch", "actor:alice", data_dir=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean search?" in done.stderr


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OPSSENTINAL_PROT": "1"}, "Did you mean OPSSENTINAL_PORT?"),
        ({"OPSSENTINAL_FOO": "1"}, "lists every setting"),
        ({"OPSSENTINAL_PORT": "http"}, "whole number"),
        ({"OPSSENTINAL_SECRET_KEY": "short"}, "32"),
        ({"OPSSENTINAL_DATA_DIR": "/proc/nowhere"}, "OPSSENTINAL_DATA_DIR"),
    ],
)
def test_a_bad_setting_is_a_sentence(env: dict[str, str], said: str, tmp_path: Path) -> None:
    """A setting that cannot be used ends any command with 78, a reason and a hint, and no traceback."""
    done = run("check", data_dir=tmp_path, env=env)
    assert done.returncode == 78
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_setting_of_the_file_is_named_as_it_stands_there(tmp_path: Path) -> None:
    """The file and the key; where the environment overrules the file, the variable."""
    file = tmp_path / "opssentinal.toml"
    file.write_text('port = "http"\n')
    env = {"OPSSENTINAL_CONFIG": str(file)}
    assert run("check", data_dir=tmp_path / "data", env=env).stderr.startswith(f"{file}: port 'http': ")
    named = run("check", data_dir=tmp_path / "data", env=env | {"OPSSENTINAL_PORT": "x"}).stderr
    assert named.startswith("OPSSENTINAL_PORT 'x': ")


@pytest.mark.parametrize("args", [["tail"], ["fsck"], ["search", "x"], ["import", "cloudtrail", "x.json"]])
def test_a_command_in_the_wrong_folder_leaves_nothing_behind(args: list[str], tmp_path: Path) -> None:
    """Where there is no log, the command says so with 69 and does not make one."""
    done = run(*args, data_dir=tmp_path / "data")
    assert done.returncode == 69
    assert "opssentinal serve" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_log_of_another_version_is_not_touched(cli: Cli, data_dir: Path) -> None:
    """Where migrations are missing, the command says what to run instead of failing somewhere."""
    undone = cli("django", "migrate", "exports", "zero", "--verbosity", "0")
    assert undone.returncode == 0, undone.stderr
    done = cli("tail")
    assert done.returncode == 69
    assert "opssentinal migrate" in done.stderr


def test_a_wrong_option_is_answered_by_usage(cli: Cli) -> None:
    """A wrong option ends with 2 and shows how the command is used."""
    done = cli("tail", "--nope")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: opssentinal tail")


def test_a_damaged_database_is_a_sentence(cli: Cli, data_dir: Path) -> None:
    """A file that is no database ends with 69 and a sentence, not with a traceback."""
    (data_dir / "opssentinal.sqlite3").write_bytes(b"not a database" * 1000)
    done = cli("tail")
    assert done.returncode == 69
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_is_no_error(cli: Cli, data_dir: Path) -> None:
    """`opssentinal … | head` ends quietly when head has what it wanted."""
    sample = Path(__file__).parents[2] / "docs" / "examples" / "cloudtrail-sample.json"
    assert cli("import", "cloudtrail", str(sample)).returncode == 0
    process = subprocess.Popen(
        command("tail", "-f", "--json"), env=environment(data_dir), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert cli("import", "cloudtrail", str(sample), "--source", "again").returncode == 0  # something to write
    assert process.wait(timeout=60) == 128 + signal.SIGPIPE
    assert process.stderr.read() == b""
    process.stderr.close()


def test_an_interrupt_is_no_error(data_dir: Path, cli: Cli) -> None:
    """Ctrl-C ends a command that waits with 130, quietly."""
    sample = Path(__file__).parents[2] / "docs" / "examples" / "cloudtrail-sample.json"
    assert cli("import", "cloudtrail", str(sample)).returncode == 0
    # A shell that runs the tests in the background has them ignore the signal, and whatever they start too.
    waiting = ["env", "--default-signal=INT", *command("tail", "-f")]
    with subprocess.Popen(
        waiting, env=environment(data_dir), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == b""
