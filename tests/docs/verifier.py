"""The verifier that docs/spec/proof.md prints, taken from the page as a reader would."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs/spec/proof.md"

Verify = Callable[[dict[str, Any], int, str], None]


@cache
def program() -> str:
    """The text of the program."""
    (found,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


@cache
def documented_verifier() -> Verify:
    """Its function: returns for a proof that holds, and raises SystemExit for any other."""
    names: dict[str, Any] = {"__name__": "verify"}
    exec(program(), names)  # noqa: S102 - our own page
    verify: Verify = names["verify"]
    return verify
