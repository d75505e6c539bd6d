"""What is vendored is what VENDORED.md says it is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import opssentinal.web

FOLDER = Path(opssentinal.web.__file__).parent / "static" / "vendor"


def _table() -> dict[str, str]:
    lines = (FOLDER / "VENDORED.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {row[0]: row[-1] for row in cells if row[0] != "file"}


def test_every_vendored_file_has_the_digest_that_is_written_down():
    """A changed byte, a missing row or a file nobody listed fails."""
    scripts = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.js")}
    assert scripts
    assert scripts == _table()


def test_every_vendored_file_comes_with_its_licence():
    """The licence text stands beside the file it belongs to."""
    for name in _table():
        assert (FOLDER / f"{name.split('.')[0]}.LICENSE").read_text().strip()
