"""No template of any room holds what the Content-Security-Policy would refuse."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.template.loader import get_template

import opssentinal

ROOT = Path(opssentinal.__file__).parent
TEMPLATES = sorted(path for path in ROOT.rglob("templates/**/*.html"))


class Inline(HTMLParser):
    """Collects inline style, inline script, event handlers and addresses of other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name: value or "" for name, value in attrs}
        # A block of data is no script: the policy does not apply to it, and nothing runs it.
        is_data = names.get("type") == "application/json"
        if tag == "style" or (tag == "script" and "src" not in names and not is_data):
            self.found.append(f"<{tag}>")
        for name, value in names.items():
            if name == "style" or name.startswith(("on", "hx-on")) or value.startswith(("js:", "javascript:")):
                self.found.append(f"<{tag} {name}>")
            if name in ("src", "href", "action") and value.startswith(("http:", "https:", "//")) and tag != "a":
                self.found.append(f"<{tag} {name}={value}>")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_compiles_and_has_nothing_inline(path: Path):
    """Template syntax is right, icons and tags exist, and there is no inline style, script or handler."""
    get_template(str(path).rpartition("/templates/")[2])
    inline = Inline()
    inline.feed(path.read_text())
    assert inline.found == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_icon_that_is_drawn_exists(path: Path):
    """A mistyped icon would only show where it is drawn."""
    from opssentinal.web.templatetags.icons import PATHS

    named = re.findall(r'{%\s*icon\s+"([a-z]+)"', path.read_text())
    assert set(named) <= set(PATHS)
