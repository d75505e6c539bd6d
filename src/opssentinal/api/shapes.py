"""The JSON of the API's answers and of the bodies it takes, besides the event itself: the source of the document's schemas."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from opssentinal.events.encoding import is_erased
from opssentinal.events.model import RecordedEvent
from opssentinal.ledger.proof import ProvenEvent
from opssentinal.search.answers import FacetValue

ExportFormat = Literal["csv", "jsonl", "parquet"]
ExportStatus = Literal["queued", "running", "ready", "failed", "cancelled", "expired"]


class EventPage(Struct):
    """Events. `next_cursor` continues a search; `next_after_seq` continues reading in recorded order."""

    data: list[RecordedEvent]
    next_cursor: str | None
    has_more: bool
    next_after_seq: int | None = None
    complete: Annotated[
        bool, Meta(description="false while the search index lacks the newest events: ask again later")
    ] = True
    partial: Annotated[
        bool,
        Meta(description="true where a long search was stopped after a second: next_cursor goes on where it came to"),
    ] = False


class EventProof(Struct):
    """One event as it is stored and hashed, and what leads from it to the root of the first `size` entries."""

    seq: int
    entry: Annotated[str, Meta(description="the canonical bytes, whose hash is the leaf")]
    who: Annotated[str | None, Meta(description="the text of which `entry` holds the digest; null where it was erased")]
    what: Annotated[str | None, Meta(description="likewise")]
    leaf_hash: Annotated[str, Meta(description="in hexadecimal")]
    size: int
    root: Annotated[str, Meta(description="in hexadecimal, as `opssentinal fsck` prints it")]
    inclusion_proof: Annotated[list[str], Meta(description="RFC 9162, Section 2.1.3, from the leaf up; in base64")]


def event_proof(proven: ProvenEvent) -> EventProof:
    """The answer that says this proof."""
    lines = proven.lines
    who, what = (None if is_erased(part) else part.decode() for part in (lines.who, lines.what))
    return EventProof(
        proven.seq, lines.entry.decode(), who, what, proven.leaf_hash.hex(), proven.size, proven.root.hex(),
        [b64encode(hash_).decode() for hash_ in proven.inclusion_proof],
    )  # fmt: skip


class Facets(Struct):
    """For each field asked for, its most frequent values. A field's own filter does not narrow its values."""

    data: dict[str, list[FacetValue]]


class EventTypeItem(Struct):
    """A declared event type. `example` can be sent as it is."""

    action: str
    category: str
    title: str
    description: str
    sensitive: bool
    example: dict[str, Any]


class EventTypes(Struct):
    """The catalogue of event types."""

    data: list[EventTypeItem]


class ExportRequest(Struct, forbid_unknown_fields=True):
    """What to export. `filter` has the parameters of the event list, each a string or a list of strings."""

    format: ExportFormat = "csv"
    filter: dict[str, str | list[str]] = {}
    bom: Annotated[bool, Meta(description="begin a CSV with a byte order mark, for Excel")] = False
    tz: Annotated[str, Meta(max_length=64, description="the zone that days in the filter are counted in")] = "UTC"


class ExportItem(Struct):
    """An export. Its file can be fetched while `status` is ready; `sha256` is that of the file."""

    id: str
    status: ExportStatus
    format: ExportFormat
    query: str
    head: int
    file_name: str
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None
    rows_done: int
    rows: int | None
    bytes: int | None
    sha256: str | None
    error: str | None


class ExportPage(Struct):
    """Exports, newest first."""

    data: list[ExportItem]
    next_cursor: str | None
    has_more: bool


class KeyRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The API key to create. Without `expires_at` and `networks` it has those of the key that asks, if it has any."""

    name: str
    source: str
    scopes: list[str]
    tenant: str | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    networks: Annotated[list[str], Meta(max_length=50)] = []


class KeyItem(Struct, kw_only=True):
    """An API key without its secret."""

    id: str
    name: str
    source: str
    tenant: str | None
    scopes: list[str]
    networks: list[str]
    state: Literal["active", "expired", "revoked"]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class CreatedKeyItem(KeyItem, kw_only=True):
    """A key just created. `token` is shown here and never again."""

    token: str


class KeyPage(Struct):
    """API keys, newest first."""

    data: list[KeyItem]
    next_cursor: str | None
    has_more: bool
