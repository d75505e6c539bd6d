"""The API reference at /api/v1/docs: the OpenAPI document as a plain page of our own, readable without JavaScript."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase

from opssentinal.api.authorization import SCHEME

_METHODS = ("post", "get", "put", "patch", "delete")


class Reference(DocsBase):
    """Renders the page; django-ninja calls it where its own would load a script that our policy refuses."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        """The page, in the shell for people who are signed in and on a plain ground for others."""
        document = json.loads(json.dumps(api.get_openapi_schema(path_params=kwargs)))
        tags: dict[str, list[dict[str, Any]]] = {}
        for path, methods in document["paths"].items():
            for method in _METHODS:
                if method in methods:
                    operation = methods[method]
                    tags.setdefault(operation["tags"][0], []).append(_shown(path, method, operation))
        schemas = [
            {"name": name, "text": json.dumps(schema, indent=2, ensure_ascii=False)}
            for name, schema in sorted(document["components"]["schemas"].items())
        ]
        context = {
            "document": document,
            "tags": tags,
            "schemas": schemas,
            "authentication": _prose(document["components"]["securitySchemes"][SCHEME]["description"]),
            "openapi_url": self.get_openapi_url(api, kwargs),
            "layout": "base.html" if request.user.is_authenticated else "api/plain.html",
        }
        return render(request, "api/reference.html", context)


def _shown(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": operation["operationId"],
        "path": path,
        "method": method.upper(),
        "summary": operation["summary"],
        "paragraphs": [_prose(text) for text in operation.get("description", "").split("\n\n")[:-1]],
        "scope": operation["security"][0][SCHEME][0],
        "parameters": [
            {
                "name": parameter["name"],
                "place": parameter["in"],
                "kind": _kind(parameter["schema"]),
                "description": _prose(parameter.get("description", "")),
            }
            for parameter in operation.get("parameters", [])
        ],
        "bodies": [
            {"type": kind, "schema": _kind(media["schema"]), "examples": _examples(media)}
            for kind, media in operation.get("requestBody", {}).get("content", {}).items()
        ],
        "responses": [
            {
                "status": status,
                "description": response["description"],
                "schema": ", ".join(_kind(media["schema"]) for media in response.get("content", {}).values()),
            }
            for status, response in sorted(operation["responses"].items())
        ],
    }


def _prose(text: str) -> SafeString:
    """Text of the document with its `code` shown as code."""
    parts = text.split("`")
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", p) if n % 2 else p,) for n, p in enumerate(parts))
    )


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("type") == "object" and "properties" in schema:
        return "{" + ", ".join(f"{name}: {_kind(part)}" for name, part in schema["properties"].items()) + "}"
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['type']} {schema['minimum']}–{schema['maximum']}"
    return str(schema.get("type", "any"))


def _examples(media: dict[str, Any]) -> list[str]:
    return [
        json.dumps(example["value"], indent=2, ensure_ascii=False) for example in media.get("examples", {}).values()
    ]
