"""The backup that the guide describes, done as it is written there, beside a real server that records events."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

from tests.server import REPOSITORY, ServerProcess

GUIDE = REPOSITORY / "docs" / "guide" / "configuration.md"


def _documented_command() -> str:
    (block,) = [
        block for block in re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "VACUUM INTO" in block
    ]
    return str(block)


def test_a_copy_of_a_running_log_is_whole(tmp_path: Path) -> None:
    """The copy taken while events arrive holds all that were acknowledged before it began, and fsck finds nothing."""
    # Never the database of the environment: this is about SQLite.
    with ServerProcess(tmp_path / "data", OPSSENTINAL_DATABASE_URL="") as server:
        token = server.api_key("events:write")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        batch = json.dumps([{"action": "a.b", "actor": {"type": "t", "id": str(n)}} for n in range(200)]).encode()

        def post() -> None:
            assert server.request("POST", "/api/v1/events", batch, headers)[0] == 201

        for _ in range(5):
            post()
        acknowledged = server.api_size()
        done = threading.Event()
        posted = 0

        def go_on() -> None:
            nonlocal posted
            while not done.is_set():
                post()
                posted += 1

        writer = threading.Thread(target=go_on)
        writer.start()
        restored = tmp_path / "restored"
        restored.mkdir()
        try:
            command = _documented_command().replace(".venv/bin/python", sys.executable)
            command = command.replace("data/opssentinal.sqlite3", str(tmp_path / "data" / "opssentinal.sqlite3"))
            command = command.replace("/backup", str(restored))
            subprocess.run(["bash", "-euc", command], check=True, timeout=60, cwd=tmp_path)
        finally:
            done.set()
            writer.join()
        assert posted
        checked = server.command("fsck", "--json", OPSSENTINAL_DATA_DIR=str(restored))
        report = json.loads(checked.stdout)
        assert report["is_clean"]
        assert report["size"] >= acknowledged >= 1000
