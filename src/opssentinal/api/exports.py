"""Exports over HTTP: ask for a file, watch it being made, fetch it. A key sees the exports it has created."""

from __future__ import annotations

from typing import cast

from django.http import FileResponse, HttpRequest, HttpResponse
from ninja import Router

from opssentinal.api import shapes
from opssentinal.api.authorization import Scope, key_context, principal_of
from opssentinal.api.bodies import body_of
from opssentinal.api.document import described, json_body
from opssentinal.api.paging import page_of
from opssentinal.api.parameters import CURSOR, LIMIT, refuse_unknown, refuse_unknown_names
from opssentinal.api.responses import json_response
from opssentinal.apikeys.principal import EXPORTS_READ, EXPORTS_WRITE
from opssentinal.exports import services
from opssentinal.exports.models import Export
from opssentinal.exports.views import CONTENT_TYPES, ExportResponse
from opssentinal.query import PARAMS, from_params, zone_named

router = Router(tags=["Exports"])


@router.post(
    "/exports",
    auth=Scope(EXPORTS_WRITE),
    operation_id="createExport",
    summary="Create an export",
    openapi_extra=described(
        {202: ("The export is on its way; its address is in the header Location.", shapes.ExportItem)},
        body=json_body(
            shapes.ExportRequest,
            failures={"format": "csv", "filter": {"outcome": ["failure", "denied"], "from": "30d"}},
        ),
        errors=(413, 415),
        leads_to={"export_id=id": ("getExport", "downloadExport", "cancelExport")},
    ),
)
def create_export(request: HttpRequest) -> HttpResponse:
    """Make a file of the events that a filter means, among those recorded until now. Recorded as export.downloaded."""
    refuse_unknown(request, ())
    principal = principal_of(request)
    asked = body_of(request, shapes.ExportRequest)
    refuse_unknown_names(asked.filter, PARAMS)
    filter = from_params(asked.filter.items(), zone_named(asked.tz, path="tz")) & principal.bounds()
    export = services.create_export(
        principal.actor(), key_context(request), _asker(request), filter, asked.format, bom=asked.bom, tz=asked.tz
    )
    response = json_response(_item(export), 202)
    response.headers["Location"] = f"{request.path}/{export.public_id}"
    return response


@router.get(
    "/exports",
    auth=Scope(EXPORTS_READ),
    operation_id="listExports",
    summary="List exports",
    openapi_extra=described(
        {200: ("Exports of this key, newest first.", shapes.ExportPage)},
        parameters=[LIMIT.documented(), CURSOR.documented()],
    ),
)
def list_exports(request: HttpRequest) -> HttpResponse:
    """The exports that this key has created."""
    found, following = page_of(request, services.list_exports(_asker(request)))
    return json_response(shapes.ExportPage([_item(export) for export in found], following, following is not None))


@router.get(
    "/exports/{export_id}",
    auth=Scope(EXPORTS_READ),
    operation_id="getExport",
    summary="Get an export",
    openapi_extra=described({200: ("The export.", shapes.ExportItem)}, errors=(404,)),
)
def get_export(request: HttpRequest, export_id: str) -> HttpResponse:
    """How far an export is, and what came of it."""
    refuse_unknown(request, ())
    return json_response(_item(services.get_export(_asker(request), export_id)))


@router.get(
    "/exports/{export_id}/file",
    auth=Scope(EXPORTS_READ),
    operation_id="downloadExport",
    summary="Fetch the file",
    openapi_extra=described({200: ("The file.", None)}, errors=(404, 409)),
)
def download_export(request: HttpRequest, export_id: str) -> FileResponse:
    """The file of a ready export. Each fetch is recorded as export.downloaded before the first byte leaves."""
    refuse_unknown(request, ())
    export, file = services.open_export(_asker(request), export_id, principal_of(request).actor(), key_context(request))
    return ExportResponse(
        file, as_attachment=True, filename=export.file_name, content_type=CONTENT_TYPES[export.format]
    )


@router.delete(
    "/exports/{export_id}",
    auth=Scope(EXPORTS_WRITE),
    operation_id="cancelExport",
    summary="Cancel an export",
    openapi_extra=described({200: ("The export, cancelled.", shapes.ExportItem)}, errors=(404, 409)),
)
def cancel_export(request: HttpRequest, export_id: str) -> HttpResponse:
    """Stop an export that is on its way; 409 if it has ended."""
    refuse_unknown(request, ())
    export = services.cancel_export(_asker(request), export_id, principal_of(request).actor(), key_context(request))
    return json_response(_item(export))


def _asker(request: HttpRequest) -> services.Principal:
    return services.Principal("api_key", principal_of(request).id)


def _item(export: Export) -> shapes.ExportItem:
    return shapes.ExportItem(
        id=export.public_id,
        status=cast(shapes.ExportStatus, export.status),
        format=cast(shapes.ExportFormat, export.format),
        query=export.query,
        head=export.head,
        file_name=export.file_name,
        created_at=export.created_at,
        finished_at=export.finished_at,
        expires_at=export.expires_at,
        rows_done=export.rows_done,
        rows=export.rows,
        bytes=export.bytes,
        sha256=export.sha256 or None,
        error=export.error or None,
    )
