"""The filter as options of a command: the same names as in the query bar, in addresses and in the API."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import tzinfo
from typing import Any

from opssentinal.query import FIELDS, Filter, from_params, zone_named


def add_filter_options(parser: ArgumentParser) -> None:
    """The query as text, as options, or both, which then must both hold."""
    parser.add_argument("query", nargs="*", help='query, such as: actor:alice after:7d "free text"')
    parser.add_argument("--from", dest="param_from", metavar="TIME", help="first instant or day: 2026-01-31, 7d, …")
    parser.add_argument("--to", dest="param_to", metavar="TIME", help="last day, or the instant after the last one")
    for name, field in FIELDS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"param_{name}",
            action="append",
            metavar="VALUE",
            help=f"{field.matches}; may be given several times",
        )
    add_zone_option(parser)


def add_zone_option(parser: ArgumentParser) -> None:
    """The zone of what is shown and of bare dates."""
    parser.add_argument("--tz", default="UTC", metavar="ZONE", help="zone of bare dates and of the table; default: UTC")


def filter_of(options: dict[str, Any]) -> Filter:
    """The filter that the options mean. Raises InvalidQuery naming what is wrong."""
    params = [("q", " ".join(options["query"]))]
    for name in ("from", "to", *FIELDS):
        given = options[f"param_{name}"] or []
        params += [(name, value) for value in ([given] if isinstance(given, str) else given)]
    return from_params(params, zone_of(options))


def zone_of(options: dict[str, Any]) -> tzinfo:
    """The zone asked for. Raises InvalidQuery where there is none of that name."""
    return zone_named(options["tz"])


def at_least_one(text: str) -> int:
    """A count on the command line, as the `type` of an option."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
