"""What the guide shows receivers works: its snippets and its example are run."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.utils import timezone

from opssentinal.integrations import trial
from opssentinal.integrations.follower import Follower
from tests.integrations.conftest import ALICE, HERE, Clock, Receiver, connect, deliver, record_events
from tests.integrations.test_signature import BODY, ID, SECRET, SIGNATURE, TIMESTAMP
from tests.server import REPOSITORY, free_port

GUIDE = (REPOSITORY / "docs" / "guide" / "integrations.md").read_text()


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    return found[1]


@contextmanager
def example(secret: str, output: Path) -> Iterator[int]:
    """The example receiver as a process; yields its port when it listens."""
    port = free_port()
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, REPOSITORY / "docs" / "examples" / "webhook_receiver.py", str(port)],
            env=os.environ | {"WEBHOOK_SECRET": secret},
            stdout=out,
        )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_the_snippet_verifies_the_published_vector() -> None:
    """The guide's Python accepts what the specification signed, and nothing that is altered, late or of another secret."""
    names: dict[str, object] = {}
    exec(_block("python"), names)  # noqa: S102 - it is our own guide
    is_genuine = names["is_genuine"]
    assert callable(is_genuine)
    headers = {"webhook-id": ID, "webhook-timestamp": str(TIMESTAMP), "webhook-signature": f"v1,xyz {SIGNATURE}"}
    assert is_genuine(SECRET, headers, BODY, TIMESTAMP + 299)
    assert not is_genuine(SECRET, headers, BODY + b" ", TIMESTAMP)
    assert not is_genuine(SECRET, headers, BODY, TIMESTAMP + 301)
    assert not is_genuine(SECRET, headers | {"webhook-id": "msg_2"}, BODY, TIMESTAMP)
    assert not is_genuine("whsec_" + "A" * 32, headers, BODY, TIMESTAMP)


def test_the_shell_commands_sign_what_the_example_accepts(tmp_path: Path) -> None:
    """openssl and curl, as the guide has them, are answered 204; with another secret 401."""
    for secret, status in ((SECRET, "204"), ("whsec_" + "A" * 32, "401")):
        with example(secret, tmp_path / "out") as port:
            script = _block("sh").replace("http://127.0.0.1:9000/", f"http://127.0.0.1:{port}/")
            done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=30, check=False)
            assert done.stdout.strip() == status, done.stderr


@pytest.mark.parametrize("lost", [False, True], ids=["once", "sent-twice"])
def test_the_example_receives_the_log(
    receiver: Receiver, follower: Follower, clock: Clock, tmp_path: Path, lost: bool
) -> None:
    """Real deliveries reach it, it accepts their signatures, and what comes twice it prints once."""

    made = connect(receiver)
    clock.now = timezone.now()
    with example(made.secret, tmp_path / "out") as port:
        type(made.integration).objects.update(url=f"http://127.0.0.1:{port}/")
        record_events(3)
        assert trial.send_test(made.integration.public_id, ALICE, HERE).status_code == 204
        after = deliver(follower, made.integration)
        assert after.position == 5
        if lost:
            # As if the answer had never come: the same delivery, from the same position.
            after.deliveries.filter(kind="events").update(status="pending", finished_at=None)
            type(after).objects.update(position=0)
            assert deliver(follower, made.integration).position == 5
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [line["seq"] for line in lines[1:]] == [0, 1, 2, 3, 4]
    assert lines[0]["message"] == "This is a test. It is no event of the log."
