"""Every link of the README and the docs leads somewhere, and the picture shows what the text says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]

_FENCED = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")
# A page of the docs named in passing, such as docs/guide/query.md.
_NAMED = re.compile(r"(?<![\w./-])docs/[\w./-]+\.\w+")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def prose(page: Path) -> str:
    """The text of a page without its code blocks."""
    return _FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors that a renderer makes of a page's headings: lower case, hyphens for spaces, no punctuation."""
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in _HEADING.findall(prose(page)))
    return {title.replace(" ", "-") for title in titles}


def links() -> Iterator[tuple[str, str]]:
    """Each page with each address it links to."""
    for page in PAGES:
        for target in _LINK.findall(prose(page)):
            yield str(page.relative_to(REPOSITORY)), target


@pytest.mark.parametrize(("page", "target"), sorted(set(links())))
def test_a_link_leads_somewhere(page: str, target: str) -> None:
    """A relative link names a file that is under version control, and its anchor a heading of it."""
    parts = urlsplit(target)
    if parts.scheme:
        assert parts.scheme in ("http", "https") and parts.netloc
        return
    here = REPOSITORY / page
    there = (here.parent / unquote(parts.path)).resolve() if parts.path else here
    assert there.is_relative_to(REPOSITORY)
    assert there.exists(), f"{page} links to {target}, which is not there"
    if there.is_file():
        listed = subprocess.run(
            ["git", "ls-files", "--error-unmatch", str(there)], cwd=REPOSITORY, capture_output=True, check=False
        )
        assert listed.returncode == 0 or not (REPOSITORY / ".git").exists(), f"{target} is not under version control"
    if parts.fragment:
        assert parts.fragment in anchors(there), f"{target} names no heading"


def test_pages_named_in_passing_are_there() -> None:
    """Wherever a page says docs/…, code blocks included, that file exists."""
    for page in PAGES:
        for name in _NAMED.findall(page.read_text()):
            assert (REPOSITORY / name).exists(), f"{page.name} speaks of {name}"


def test_the_picture_is_one() -> None:
    """The README's screenshot is a PNG of a desktop's size, small enough to load with the page."""
    content = (REPOSITORY / "docs/images/audit-logs.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (1440, 900)
    assert len(content) < 400_000
