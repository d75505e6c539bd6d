"""Schemathesis asks the running server what its OpenAPI document allows and what it does not, alone and in chains of requests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.crash.conftest import Subject

# How many requests to make up for each operation, and in which ways; a long run adds "coverage" (thousands of requests).
EXAMPLES = os.environ.get("OPENAPI_EXAMPLES", "8")
PHASES = os.environ.get("OPENAPI_PHASES", "examples,fuzzing,stateful")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
)
# No operation is left out. Where made-up events are to be attached to an incident that was just opened, the 404 is of the event
# and not of the incident. An export that was cancelled is not gone, and its row says so.
CONFIG = """
[checks]
enabled = false
{checks}

[[operations]]
include-operation-id = "attachIncidentEvents"
checks.ensure_resource_availability.enabled = false

[[operations]]
include-operation-id = "getExport"
checks.use_after_free.enabled = false
""".format(checks="\n".join(f"{check}.enabled = true" for check in CHECKS))


@pytest.mark.parametrize("seed", [1])
def test_the_document_says_what_the_server_does(subject: Subject, tmp_path: Path, seed: int) -> None:
    """No 5xx, and no status, header, content type or schema that is not in the document; also over chains of requests."""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{subject.server.url}/api/v1/openapi.json",
        "--header", f"Authorization: Bearer {subject.key}", "--phases", PHASES,
        "--max-examples", EXAMPLES, "--seed", str(seed), "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    document = json.loads(subject.server.get("/api/v1/openapi.json")[1])
    count = sum(len(methods) for methods in document["paths"].values())
    assert re.search(rf"Selected: {count}/{count}\s+Tested: {count}\n", done.stdout), done.stdout[-3000:]
    links = re.search(r"API Links: +(\d+) covered", done.stdout)
    assert links is not None
    assert int(links[1]) > 3
    _check_what_was_made(subject)


def _check_what_was_made(subject: Subject) -> None:
    """Of each kind of thing there is some, so that requests came as far as making it; exports come to an end."""
    subject.server.wait_for_search()
    for path in ("events", "incidents", "api-keys", "exports"):
        assert subject.server.api(f"/api/v1/{path}", subject.key)["data"], path
    deadline = time.monotonic() + 120
    while _export_statuses(subject) - {"ready", "cancelled"}:
        assert time.monotonic() < deadline, _export_statuses(subject)
        time.sleep(0.1)
    files = sum(path.stat().st_size for path in (subject.server.data_dir / "exports").iterdir())
    assert files < 64 << 20


def _export_statuses(subject: Subject) -> set[str]:
    return {export["status"] for export in subject.server.api("/api/v1/exports?limit=1000", subject.key)["data"]}
