"""Two servers on one data directory: the second is refused, and the first does not notice."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from opssentinal.instance import address_of, server_id
from tests.server import ServerProcess, free_port

PASSWORD = "nine purple elephants"


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    """It says why and ends; pages, search and files of the first stay as they are."""
    with ServerProcess(tmp_path / "data") as server:
        server.wait_for_search()
        second = server.command("serve", "--port", str(free_port()), check=False)
        assert second.returncode == 78
        assert "Another server runs on the data directory" in second.stderr
        read = server.api_key("events:read")
        server.wait_for_search()
        assert len(server.api("/api/v1/events", read)["data"]) == 1
        database = server.data_dir / "opssentinal.sqlite3"
        assert not database.exists() or stat.S_IMODE(database.stat().st_mode) == 0o600


def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    """Before anything is announced."""
    server = ServerProcess(tmp_path / "data")
    done = server.command("serve", "--port", "99999", check=False)
    assert done.returncode == 78
    assert "There is no port 99999" in done.stderr
    assert "listening" not in done.stdout


@pytest.mark.parametrize(
    ("host", "said"),
    [("127.0.0.1", "already in use"), ("nosuch.invalid", "no host nosuch.invalid"), ("192.0.2.1", "assign")],
)
def test_where_it_cannot_listen_nothing_is_made(tmp_path: Path, host: str, said: str) -> None:
    """A port in use, a host that there is not, an address of another machine: a sentence and a hint, and no log."""
    server = ServerProcess(tmp_path / "data")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = server.command("serve", "--host", host, "--port", str(port), check=False)
    assert done.returncode == 78
    assert said in done.stderr
    assert ("--port" if host == "127.0.0.1" else "--host") in done.stderr
    assert not (tmp_path / "data" / "opssentinal.sqlite3").exists()


def test_commands_print_the_address_of_the_server_itself(tmp_path: Path) -> None:
    """Where no public address is set: as `serve` was started, also when it no longer runs, and it answers to it."""
    with ServerProcess(tmp_path / "data", OPSSENTINAL_BASE_URL="") as server:
        assert f"{server.url}/setup?token=" in server.log.read_text()
        server.command("createuser", "ada@example.com", "--name", "Ada", "--password-stdin", stdin=PASSWORD + "\n")
        link = server.command("user", "reset-password", "ada@example.com").stdout
        assert f"{server.url}/accounts/password/" in link
        named = server.command("user", "reset-password", "ada@example.com", OPSSENTINAL_BASE_URL="https://a.example")
        assert "https://a.example/accounts/password/" in named.stdout
        assert f"{server.url}\n" in server.command("check").stdout
    assert f"{server.url}/accounts/password/" in server.command("user", "reset-password", "ada@example.com").stdout


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:81"),
        ("0.0.0.0", "http://127.0.0.1:81"),
        ("::", "http://[::1]:81"),
        ("fe80::1", "http://[fe80::1]:81"),
        ("audit.example.com", "http://audit.example.com:81"),
    ],
)
def test_the_address_of_a_server_can_be_opened(host: str, address: str) -> None:
    """One that listens on every address is reached on this machine at the loopback one."""
    assert address_of(host, 81) == address


def test_every_address_of_the_api_answers_with_a_problem(tmp_path: Path) -> None:
    """A slash too many is a problem document, not a page about an expired form."""
    with ServerProcess(tmp_path / "data") as server:
        status, body = server.request("POST", "/api/v1/events/", b"{}", {"Content-Type": "application/json"})
        assert status == 404
        assert b'"title"' in body


def test_a_server_keeps_its_name(tmp_path: Path) -> None:
    """One for each data directory, the same after a restart, so that it takes up what it was killed over."""
    assert server_id(tmp_path / "one") == server_id(tmp_path / "one") != server_id(tmp_path / "other")
    assert stat.S_IMODE((tmp_path / "one" / "server.id").stat().st_mode) == 0o600
