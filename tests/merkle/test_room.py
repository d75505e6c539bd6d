"""The room stands alone: an auditor needs Python and this folder."""

from __future__ import annotations

import subprocess
import sys


def test_only_the_standard_library_is_imported() -> None:
    """Importing `opssentinal.merkle` loads nothing but the standard library and the room itself."""
    program = (
        "import sys; before = set(sys.modules); import opssentinal.merkle; "
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    foreign = [
        name
        for name in loaded
        if name.split(".")[0] not in sys.stdlib_module_names
        and name != "opssentinal"
        and not f"{name}.".startswith("opssentinal.merkle.")
    ]
    assert "opssentinal.merkle" in loaded
    assert foreign == []
