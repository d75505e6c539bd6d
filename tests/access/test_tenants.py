"""A key of a tenant: what belongs to others is for it as if it were not there, whatever its scopes."""

from __future__ import annotations

from collections.abc import Callable

from opssentinal.apikeys.services import create_key
from opssentinal.events.model import Context
from opssentinal.incidents import services as incidents
from tests.access.conftest import OPERATOR, Back, event_of, put
from tests.api.conftest import Caller, caller

__all__ = ["caller"]


def test_a_key_of_a_tenant_knows_of_no_other(back: Back, caller: Callable[..., Caller]) -> None:
    """Events, incidents, keys and exports of others: in no list, and 404 by name, to read, to change and to end."""
    (theirs, ours) = put(event_of(1, "other"), event_of(1, "acme"))
    incident = incidents.open_incident(
        OPERATOR, Context(), title="Theirs", severity="high", origin="api", tenant="other"
    ).incident.number
    key = create_key(
        actor=OPERATOR, context=Context(), name="Theirs", source="other", scopes=["events:read"], tenant="other"
    ).key.public_id
    export = caller(tenant="other").post("/exports", {"format": "csv"}).json_["id"]
    program = caller(tenant="acme", source="acme")

    assert [event["seq"] for event in program.get("/events").json_["data"]] == [ours]
    assert [event["seq"] for event in program.get("/events?after_seq=-1&limit=100").json_["data"]] == [ours]
    assert program.get("/events/facets?field=tenant").json_["data"]["tenant"][0]["value"] == "acme"
    assert program.get("/incidents").json_["data"] == []
    assert key not in {item["id"] for item in program.get("/api-keys").json_["data"]}
    assert program.get("/exports").json_["data"] == []
    for method, path, body in (
        ("GET", f"/events/{theirs}", None),
        ("GET", f"/events/{theirs}/proof", None),
        ("GET", f"/incidents/{incident}", None),
        ("PATCH", f"/incidents/{incident}", {"status": "closed"}),
        ("POST", f"/incidents/{incident}/notes", {"text": "seen"}),
        ("POST", f"/incidents/{incident}/events", {"events": [str(ours)]}),
        ("DELETE", f"/api-keys/{key}", None),
        ("GET", f"/exports/{export}", None),
        ("GET", f"/exports/{export}/file", None),
        ("DELETE", f"/exports/{export}", None),
    ):
        assert program(method, path, body).status_code == 404, (method, path)
