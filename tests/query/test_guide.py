"""The guide of the query language cannot rot: its keys are the keys, its examples are read."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl

from opssentinal.query import FIELDS, KEYS, PARAMS, fields, filter, from_params, language, parse

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "query.md").read_text(encoding="utf-8")


def _rows(heading: str) -> list[list[str]]:
    section = GUIDE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_table_of_keys_is_the_vocabulary() -> None:
    """Every key, in order, with what it matches, its example, its choices, and what it does with case and stars."""
    rows = {row[0].strip("`"): row for row in _rows("Keys")}
    assert tuple(rows) == KEYS
    for name, field in FIELDS.items():
        _, matches, example, case, star = rows[name]
        choices = ", ".join(f"`{choice}`" for choice in field.choices)
        assert matches == (f"{field.matches}: {choices}" if choices else field.matches)
        assert example == f"`{name}:{field.example}`"
        # Choices, addresses and ids have one spelling; the case of what is typed does not matter in them.
        folds = field.folds_case or field.lower_case or not field.wildcards
        assert case == ("alike" if folds else "differ")
        assert star == ("yes" if field.wildcards else "no")


def test_every_example_is_read() -> None:
    """Each query that the guide shows is a query, each parameter one that is known."""
    queries = re.findall(r"```query\n(.*?)```", GUIDE, re.DOTALL)
    queries += [code for row in GUIDE.splitlines() if row.startswith("| `") for code in re.findall(r"`([^`]+)`", row)
                if ":" in code or code[0] in '"-']  # fmt: skip
    assert len(queries) > 30
    for query in queries:
        assert list(parse(query).chips()) or parse(query).after or parse(query).before, query
    addresses = re.findall(r"```params\n(.*?)```", GUIDE, re.DOTALL)[0].split()
    for address in addresses:
        pairs = parse_qsl(address, strict_parsing=True)
        assert {name for name, _ in pairs} <= set(PARAMS)
        from_params(pairs)


def test_the_limits_are_those_of_the_guide() -> None:
    """The numbers in the last section are the real ones."""
    section = GUIDE.split("## Limits", 1)[1]
    for limit in (language.TEXT_CHARS_MAX, filter.VALUES_MAX, filter.CHARS_MAX, fields.VALUE_CHARS_MAX):
        assert f"{limit:,}" in section
