"""Run the tests of crashes and hostile input at full length, and write what they did to benchmarks/ENDURANCE.md."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

from tests.server import REPOSITORY

from benchmarks.results import revision

RECORD = Path(__file__).with_name("ENDURANCE.md")
SUITES: Final = ("tests/crash", "tests/fuzz")
# How far each kind goes; the tests read these from the environment.
LENGTHS: Final = {
    "KILLS": "50",
    "FAULTS": "100",
    "RESTARTS": "20",
    "CUTS": "200",
    "LOSSES": "50",
    "SLOW_CONNECTIONS": "10000",
    "SEARCH_EVENTS": "1000000",
    "STARTS": "all",
    "EXPORTS": "all",
    "INDEX": "all",
    "OPENAPI_PHASES": "examples,coverage,fuzzing,stateful",
    "OPENAPI_EXAMPLES": "100",
    "INGEST_EXAMPLES": "50000",
}


class Case(NamedTuple):
    """One function of tests: how many cases it had, how they ended, how long they took and how many events were looked for."""

    name: str
    cases: int
    failed: int
    skipped: int
    seconds: float
    acknowledged: int

    def line(self, when: str) -> str:
        """A line of the table, with the day and the commit it was run at."""
        shown = f"{self.acknowledged:,}" if self.acknowledged else ""
        numbers = f"{self.cases} | {self.failed} | {self.skipped} | {self.seconds:,.0f} | {shown}"
        return f"| `{self.name}` | {numbers} | {when} |"


def main() -> None:
    """Run what is asked for, two files at a time, and put it into the record; the exit status is that of the tests."""
    arguments = sys.argv[1:]
    if not any(argument.startswith("tests") for argument in arguments):
        arguments += SUITES
    commit = revision()  # of the beginning
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", f"--junitxml={report}"]
        status = subprocess.run(
            [*command, "-o", "junit_logging=system-out", *arguments],
            check=False,
            env=os.environ | LENGTHS,
            cwd=REPOSITORY,
        ).returncode
        if not report.exists():
            raise SystemExit(status)
        when = f"{time.strftime('%Y-%m-%d')}, {commit}"
        lines = {case.name: case.line(when) for case in read(report.read_text())}
    earlier = RECORD.read_text().splitlines() if RECORD.exists() else []
    kept = {found[1]: found[0] for line in earlier if (found := re.fullmatch(r"\| `([^`]+)` \|.*", line))}
    RECORD.write_text(record({name: line for name, line in (kept | lines).items() if _is_there(name)}))
    raise SystemExit(status)


def _is_there(name: str) -> bool:
    """Whether there still is a test of this name."""
    file, _, function = name.partition("::")
    path = REPOSITORY / file
    return path.exists() and f"def {function}(" in path.read_text()


def read(report: str) -> list[Case]:
    """What stands in a JUnit report, cases of one function together."""
    found: dict[str, Case] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '').split('[')[0]}"
        before = found.get(name, Case(name, 0, 0, 0, 0, 0))
        said = [
            int(number)
            for number in re.findall(r"^(\d+) acknowledged$", case.findtext("system-out") or "", re.MULTILINE)
        ]
        found[name] = Case(
            name,
            before.cases + 1,
            before.failed + (case.find("failure") is not None or case.find("error") is not None),
            before.skipped + (case.find("skipped") is not None),
            before.seconds + float(case.get("time", "0")),
            max(before.acknowledged, *said, 0),
        )
    return list(found.values())


def record(lines: dict[str, str]) -> str:
    """The whole document, of the lines of its table by the test."""
    lengths = ", ".join(f"`{name}={value}`" for name, value in LENGTHS.items())
    return f"""# Endurance

What `./scripts/endure` did: the tests of crashes and of hostile input at full length, {lengths}. Each line says when and at which
commit; a run of some tests replaces their lines. Two files of tests share a machine with {os.cpu_count()} cores ({platform.machine()}).

Acknowledged: how many events the server had acknowledged when each of them was looked for, and found in the ledger, once and at its
place, with search saying the same and `opssentinal fsck` finding nothing wrong.

| test | cases | failed | skipped | seconds | acknowledged | run |
|---|--:|--:|--:|--:|--:|---|
""" + "".join(f"{lines[name]}\n" for name in sorted(lines))


if __name__ == "__main__":
    main()
