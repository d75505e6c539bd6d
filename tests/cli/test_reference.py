"""The guide says what there is: every command and every setting, as they are now."""

from __future__ import annotations

from pathlib import Path

from django.core.management import get_commands

from opssentinal.commands import reference
from opssentinal.commands.listing import COMMANDS, GROUPS
from opssentinal.config import PREFIX, SETTINGS

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


def test_generated_parts_of_the_guide_are_current() -> None:
    """`python -m opssentinal.commands.reference` would change nothing."""
    for path, text in reference.pages(GUIDE).items():
        assert path.read_text() == text, f"{path.name}: run python -m opssentinal.commands.reference"


def test_every_setting_is_in_the_guide() -> None:
    """A setting that nobody explains does not exist for a user."""
    page = (GUIDE / "configuration.md").read_text()
    for setting in SETTINGS:
        assert f"`{PREFIX}{setting.name}`" in page


def test_every_command_is_listed_and_every_listed_one_is_there() -> None:
    """The product's management commands are exactly those that `--help` lists; migrate is Django's."""
    ours = {name for name, app in get_commands().items() if str(app).startswith("opssentinal.")}
    assert ours | {"migrate"} == set(COMMANDS)


def test_every_command_is_in_the_guide() -> None:
    """Each command has a section, and each group a heading."""
    page = (GUIDE / "cli.md").read_text()
    for title, commands in GROUPS.items():
        assert f"## {title}\n" in page
        for command in commands:
            assert f"### opssentinal {command.name}\n" in page
