"""Which events are meant: the Filter, its query language and parameters, and cursors into its results.

One vocabulary for the query bar, addresses, the API, the command line, exports and rules; every store compiles the same
Filter. Pure: nothing here reads or writes anything.
"""

from opssentinal.query.cursor import Cursor, Order, cursor_time, decode_cursor, encode_cursor
from opssentinal.query.fields import CATEGORIES, FIELDS, OUTCOMES, Field
from opssentinal.query.filter import Chip, Filter, Phrase, Term
from opssentinal.query.instant import day_start, parse_instant, written, zone_named, zone_names
from opssentinal.query.language import KEYS, format, parse
from opssentinal.query.params import PARAMS, from_params, to_params
from opssentinal.query.pattern import literal, pieces

__all__ = [
    "CATEGORIES",
    "FIELDS",
    "KEYS",
    "OUTCOMES",
    "PARAMS",
    "Chip",
    "Cursor",
    "Field",
    "Filter",
    "Order",
    "Phrase",
    "Term",
    "cursor_time",
    "day_start",
    "decode_cursor",
    "encode_cursor",
    "format",
    "from_params",
    "literal",
    "parse",
    "parse_instant",
    "pieces",
    "to_params",
    "written",
    "zone_named",
    "zone_names",
]
