"""Text that would obey: escape sequences, new lines and turned reading directions, in events and in requests."""

from __future__ import annotations

import http.client
import json
import logging
import os
import pty
import re
import subprocess
import sys
import unicodedata
from urllib.parse import quote

import pytest

from opssentinal.server_log import Lines
from tests.security.conftest import full_event, send
from tests.server import REPOSITORY, ServerProcess
from tests.visitor import Visitor

FORGED = "2026-11-23 10:00:00,000 ERROR   opssentinal: FORGED"
_HOSTILE = (
    f"x\r\n{FORGED}\x1b[2J\x1b]0;owned\x07\x9b31m\x08\x7f\u202e\u2066\u2028\u2029\u0085\ufeff\u200b\x00y".replace(
        "\x00", ""
    )
)


def _obeyed(text: str, kept: str = "\n") -> set[str]:
    """The characters of a text that a terminal or a reader would obey."""
    return {char for char in text if char not in kept and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")}


@pytest.fixture(scope="module")
def events(server: ServerProcess, key: str) -> list[int]:
    """Events with the hostile text in every field."""
    sent = send(server, key, *(full_event(_HOSTILE, action) for action in ("terminal.sent", "user.role_changed")))
    server.wait_for_search()
    return sent


@pytest.mark.parametrize("arguments", [("tail",), ("tail", "--json"), ("search", "terminal"), ("search", "--json")])
def test_commands_into_a_pipe(server: ServerProcess, events: list[int], arguments: tuple[str, ...]) -> None:
    """One event is one line, tabs part its columns, and nothing else in it moves anything."""
    out = server.command(*arguments).stdout
    assert "FORGED" in out
    assert not _obeyed(out, "\n\t")
    assert not [line for line in out.splitlines() if line.startswith((FORGED, "FORGED", "y"))]
    if "--json" in arguments:
        found = [json.loads(line) for line in out.splitlines()]
        assert _HOSTILE in [event["message"] for event in found]  # not a character is lost


@pytest.mark.parametrize("arguments", [("tail",), ("search", "terminal")])
def test_commands_on_a_terminal(server: ServerProcess, events: list[int], arguments: tuple[str, ...]) -> None:
    """On a terminal there are our colours and nothing that an event brought."""
    out = _on_a_terminal(server, *arguments)
    assert "FORGED" in out
    assert not _obeyed(re.sub(r"\x1b\[[0-9;]*m", "", out), "\n\r")
    assert "\x1b[31mx" not in out
    assert "owned\x07" not in out


def _on_a_terminal(server: ServerProcess, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "opssentinal", *arguments],
        env=server.environment | {"COLUMNS": "4000", "TERM": "xterm-256color"},
        cwd=REPOSITORY, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65_536):
            parts.append(part)
    except OSError:
        pass  # Linux says so when the other end is closed
    os.close(ours)
    assert process.wait(60) == 0, b"".join(parts)
    return b"".join(parts).decode()


def test_what_strangers_send_forges_nothing_in_the_servers_log(server: ServerProcess, key: str, admin: Visitor) -> None:
    """Addresses, headers, credentials and forms with new lines and escapes: no record of theirs, no character obeyed."""
    text = _HOSTILE
    for address in (
        f"/{quote(text)}",
        f"/insights/audit-logs/?q={quote(text)}",
        f"/api/v1/{quote(text)}",
        f"/api/v1/events/{quote(text)}",
    ):
        server.get(address, {"Authorization": f"Bearer {key}", "X-Request-Id": quote(text)})
    for name in (
        "Authorization",
        "X-Request-Id",
        "User-Agent",
        "X-Forwarded-For",
        "Content-Type",
        "Cookie",
        "Host",
        "Content-Encoding",
    ):
        _raw(server, name, b"Bearer x\x1b[31m\xe2\x80\xae " + FORGED.encode())
    stranger = Visitor(server.url)
    for _ in range(2):
        stranger.sign_in(text, text)
    admin.post("/settings/api-keys/", admin.get("/settings/api-keys/")[1], name=text, source=text)
    server.command("createuser", text, "--password-stdin", check=False, stdin=text + "\n")
    log = server.log.read_text()
    assert not _obeyed(log)
    assert not [
        line for line in log.splitlines() if line.startswith(FORGED[:10]) and "ERROR   opssentinal: FORGED" in line[:70]
    ]


def _raw(server: ServerProcess, header: str, value: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.putrequest("POST", "/api/v1/events", skip_host=header == "Host", skip_accept_encoding=True)
        connection.putheader(header, value)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        connection.getresponse().read()
    finally:
        connection.close()


def test_a_record_of_the_log_is_one_line() -> None:
    """Message, arguments and traceback: whatever is in them, only the record's own line begins at the margin."""
    formatter = Lines("{levelname} {message}", style="{")
    try:
        raise ValueError(_HOSTILE)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f.py", 1, "failed for %s", (_HOSTILE,), sys.exc_info())
    lines = formatter.format(record).split("\n")
    assert lines[0].startswith("ERROR failed for x\\x0d\\x0a2026")
    assert all(line.startswith("    ") for line in lines[1:])
    assert not _obeyed("".join(lines))
