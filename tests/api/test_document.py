"""The OpenAPI document and the reference page made from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from openapi_spec_validator import OpenAPIV31SpecValidator

from opssentinal.apikeys.principal import SCOPES
from opssentinal.query import PARAMS

from .conftest import Caller, put

# Renaming one breaks every client that was generated from the document.
OPERATIONS = {
    "createEvents": "POST /api/v1/events",
    "listEvents": "GET /api/v1/events",
    "getEventFacets": "GET /api/v1/events/facets",
    "getEventHistogram": "GET /api/v1/events/histogram",
    "getEvent": "GET /api/v1/events/{event}",
    "getEventProof": "GET /api/v1/events/{event}/proof",
    "listEventTypes": "GET /api/v1/event-types",
    "createExport": "POST /api/v1/exports",
    "listExports": "GET /api/v1/exports",
    "getExport": "GET /api/v1/exports/{export_id}",
    "downloadExport": "GET /api/v1/exports/{export_id}/file",
    "cancelExport": "DELETE /api/v1/exports/{export_id}",
    "listIncidents": "GET /api/v1/incidents",
    "createIncident": "POST /api/v1/incidents",
    "getIncident": "GET /api/v1/incidents/{number}",
    "updateIncident": "PATCH /api/v1/incidents/{number}",
    "createIncidentNote": "POST /api/v1/incidents/{number}/notes",
    "attachIncidentEvents": "POST /api/v1/incidents/{number}/events",
    "listAPIKeys": "GET /api/v1/api-keys",
    "createAPIKey": "POST /api/v1/api-keys",
    "revokeAPIKey": "DELETE /api/v1/api-keys/{key_id}",
}


@pytest.fixture
def document() -> dict[str, Any]:
    """The document as it is served to anybody."""
    answer = Client().get("/api/v1/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = json.loads(answer.content)
    return found


def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    """Other people's validator agrees with the whole document, references and schemas included."""
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_operation_ids_are_stable(document: dict[str, Any]) -> None:
    """The operations are exactly these, under these ids."""
    found = {
        operation["operationId"]: f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert found == OPERATIONS


def test_everything_that_is_made_leads_to_what_can_be_asked_about_it(document: dict[str, Any]) -> None:
    """Links name operations and parameters that there are, and every operation on one thing is the end of one."""
    wanted = {
        operation["operationId"]: set(re.findall(r"{(\w+)}", path))
        for path, methods in document["paths"].items()
        for operation in methods.values()
    }
    ends = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                for link in answer.get("links", {}).values():
                    assert set(link["parameters"]) == wanted[link["operationId"]]
                    ends.add(link["operationId"])
    assert ends == {name for name, parameters in wanted.items() if parameters}


def test_every_operation_names_its_scope_and_errors(document: dict[str, Any]) -> None:
    """Each operation asks for one scope of the closed set, and documents problem details for 401, 403 and 429."""
    named = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            [requirement] = operation["security"]
            [scope] = requirement["APIKey"]
            named.add(scope)
            for status in ("400", "401", "403", "429", "500"):
                assert "application/problem+json" in operation["responses"][status]["content"]
    assert named == set(SCOPES)
    assert document["components"]["securitySchemes"]["APIKey"]["scheme"] == "bearer"


def test_the_event_schema_is_that_of_the_decoder(document: dict[str, Any]) -> None:
    """Limits in the document are the limits that are enforced: unknown fields, patterns, lengths, date-times."""
    event = document["components"]["schemas"]["Event"]
    assert event["additionalProperties"] is False
    assert set(event["required"]) == {"action", "actor"}
    assert event["properties"]["targets"]["maxItems"] == 10
    assert event["properties"]["outcome"]["enum"] == ["denied", "failure", "success", "unknown"]
    assert '"format": "date-time"' in json.dumps(event["properties"]["occurred_at"])


def test_filters_are_documented(document: dict[str, Any]) -> None:
    """Every parameter of the query vocabulary is in the document of the list, the facets and the histogram."""
    for path in ("/api/v1/events", "/api/v1/events/facets", "/api/v1/events/histogram"):
        names = [parameter["name"] for parameter in document["paths"][path]["get"]["parameters"]]
        assert set(PARAMS) <= set(names)
        assert len(names) == len(set(names))


def test_a_recorded_event_fits_its_schema(document: dict[str, Any], caller: Callable[..., Caller]) -> None:
    """What is answered has exactly the keys that the document shows."""
    put("one")
    answered = caller().get("/events/0").json_
    assert set(answered) == set(document["components"]["schemas"]["RecordedEvent"]["properties"])


def test_a_proof_fits_its_schema(document: dict[str, Any], caller: Callable[..., Caller]) -> None:
    """Of a proof likewise: nothing more, nothing less."""
    put("one")
    answered = caller().get("/events/0/proof").json_
    assert set(answered) == set(document["components"]["schemas"]["EventProof"]["required"])


def test_the_reference_page_needs_nothing_from_elsewhere() -> None:
    """The page shows every operation, without a script of its own, an inline style or another host."""
    answer = Client().get("/api/v1/docs")
    page = answer.content.decode()
    assert answer.status_code == 200
    for operation_id, address in OPERATIONS.items():
        assert f'id="{operation_id}"' in page
        assert address.split()[1].replace("{", "{") in page
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=", page)
    assert all(address.startswith("/") for address in re.findall(r'(?:src|href)="(?!#)([^"]*)"', page))
