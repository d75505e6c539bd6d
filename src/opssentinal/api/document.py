"""The OpenAPI 3.1 document: django-ninja gives the paths, msgspec the schemas, from the very types that are decoded.

Each operation says what it takes and gives with `described()`; the errors, which all operations share, are added here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from opssentinal.api import incident_shapes, shapes
from opssentinal.api.authorization import SCHEME, Scope
from opssentinal.events.model import Event, RecordedEvent
from opssentinal.formats.problem import PROBLEM_TYPE, Problem
from opssentinal.ingest.operation import Ingested
from opssentinal.search.answers import Histogram

_REF = "#/components/schemas/{name}"
TYPES: tuple[Any, ...] = (
    Event, RecordedEvent, Ingested, Problem, shapes.EventPage, shapes.EventProof, shapes.Facets, Histogram,
    shapes.EventTypes, shapes.ExportRequest, shapes.ExportItem, shapes.ExportPage, shapes.KeyRequest, shapes.KeyItem,
    shapes.CreatedKeyItem, shapes.KeyPage, incident_shapes.IncidentRequest, incident_shapes.IncidentPatch,
    incident_shapes.NoteRequest, incident_shapes.AttachRequest, incident_shapes.IncidentItem,
    incident_shapes.IncidentDetail, incident_shapes.IncidentNote, incident_shapes.IncidentEvents,
    incident_shapes.IncidentPage,
)  # fmt: skip

_HEADERS = {
    "RateLimit": {"description": "What is left of the key's share.", "schema": {"type": "string"}},
    "X-Request-Id": {"description": "The id of the request.", "schema": {"type": "string"}},
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_EVERYWHERE = (400, 401, 403, 429, 500, 503)


def ref(kind: type) -> dict[str, str]:
    """The reference to a type's schema."""
    return {"$ref": _REF.format(name=kind.__name__)}


def described(
    answers: dict[int, tuple[str, type | None]],
    *,
    parameters: Sequence[dict[str, Any]] = (),
    body: dict[str, Any] | None = None,
    errors: Sequence[int] = (),
    leads_to: dict[str, tuple[str, ...]] | None = None,
) -> dict[str, Any]:
    """Build an operation's `openapi_extra`: status → (what it means, type of its JSON), plus errors of its own.

    `leads_to` names what can be asked next about the thing in the answer: "parameter=member of the answer" → operations.
    """
    responses: dict[int, Any] = {}
    for status, (meaning, kind) in answers.items():
        responses[status] = {"description": meaning, "headers": _HEADERS}
        if kind is not None:
            responses[status]["content"] = {"application/json": {"schema": ref(kind)}}
        if leads_to:
            responses[status]["links"] = _links(leads_to)
    for status in sorted({*_EVERYWHERE, *errors}):
        responses[status] = _problem(status)
    extra: dict[str, Any] = {"responses": responses}
    if parameters:
        extra["parameters"] = list(parameters)
    if body is not None:
        extra["requestBody"] = {"required": True, "content": body}
    return extra


def _links(leads_to: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """OpenAPI 3.1, Link Object: chains of requests that a client, and a test, can follow."""
    return {
        operation: {"operationId": operation, "parameters": {parameter: f"$response.body#/{member}"}}
        for found, operations in leads_to.items()
        for parameter, _, member in [found.partition("=")]
        for operation in operations
    }


def json_body(kind: type, **examples: Any) -> dict[str, Any]:
    """The content of a JSON request body, with named examples."""
    media: dict[str, Any] = {"schema": ref(kind)}
    if examples:
        media["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"application/json": media}


def _problem(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {PROBLEM_TYPE: {"schema": ref(Problem)}},
    }
    if status in (429, 503):
        found["headers"] = _RETRY
    return found


@cache
def _schemas() -> dict[str, Any]:
    _, components = msgspec.json.schema_components(TYPES, ref_template=_REF)
    return components


class API(NinjaAPI):
    """NinjaAPI whose document has our schemas, and the scope that each operation asks for."""

    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:
        """The document, as a dict that is JSON once its keys are strings."""
        document = super().get_openapi_schema(**kwargs)
        document["components"]["schemas"].update(_schemas())
        document["components"].setdefault("securitySchemes", {})[SCHEME] = {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, `Authorization: Bearer ops_…`, from Settings → API keys.",
        }
        document["components"]["securitySchemes"].pop(Scope.__name__, None)
        document["servers"] = [{"url": "/", "description": "this server"}]
        scopes = self._scopes()
        for path in document["paths"].values():
            for operation in path.values():
                # ninja's own 200, where the operation answers with something else
                if operation["responses"].get(200, {}).keys() == {"description"}:
                    del operation["responses"][200]
                if scope := scopes.get(operation["operationId"]):
                    # OpenAPI 3.1: of schemes that are not OAuth2 the list names roles for people.
                    operation["security"] = [{SCHEME: [scope]}]
                    operation["description"] = f"{operation.get('description', '')}\n\nScope: `{scope}`".strip()
        return document

    def _scopes(self) -> dict[str, str]:
        return {
            operation.operation_id: auth.name
            for router in self._get_bound_routers()
            for path_view in router.path_operations.values()
            for operation in path_view.operations
            for auth in operation.auth_callbacks
            if isinstance(auth, Scope) and operation.operation_id
        }
