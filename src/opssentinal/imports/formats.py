"""The formats that can be imported, by the name they have on the command line."""

from __future__ import annotations

from opssentinal.imports import cloudtrail, ndjson
from opssentinal.imports.importing import Format

FORMATS: dict[str, Format] = {
    "cloudtrail": Format("cloudtrail", cloudtrail.event_from_record, "CloudTrail records"),
    "ndjson": Format("ndjson", ndjson.event_from_record, "events"),
}
