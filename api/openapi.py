"""The OpenAPI document: what FastAPI makes of the routes, with the errors, batches and examples it cannot know."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from api.errors import CODES, Problem, problem
from api.guard import SCHEME
from api.packed import packed_schemas
from api.routes.beacons import BeaconsIn
from api.schemas.runners import RunnersIn
from api.sent_events import BatchIn, batch_schemas
from racing.rule import DEFAULT_RULE

_REF = "#/components/schemas/{model}"
_ERRORS = (400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 429, 431, 500, 503)
"""Declared for every operation, so that a client can rely on the one shape."""
_HEADERS = {
    401: {"WWW-Authenticate": {"description": "Bearer", "required": True, "schema": {"type": "string"}}},
    405: {"Allow": {"description": "the methods that there are", "required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer"}}},
    503: {"Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer"}}},
}
_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "an API key, as `saima key create` prints it; where a call without one is taken, it is shown less",
}
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI, *, events_max: int) -> None:
    """Serve the completed document as the app's own."""
    made = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = complete(made(), events_max=events_max)
        return app.openapi_schema

    app.openapi = completed  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def complete(document: dict[str, Any], *, events_max: int) -> dict[str, Any]:
    """The document with errors on every operation, the schema of batches, and an example of every answer."""
    components = document["components"]
    schemas = components["schemas"]
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    named: list[Any] = [(Problem, "serialization"), (RunnersIn, "validation")]  # bodies that routes read by themselves
    _, problems = models_json_schema(named, ref_template=_REF)
    schemas |= problems["$defs"]
    schemas["Rule"]["examples"] = [DEFAULT_RULE.model_dump(mode="json", exclude_none=True)]
    schemas |= packed_schemas(_REF.replace("model", "name"))
    schemas |= batch_schemas(_REF.replace("model", "name"), events_max=events_max, kinds=(BatchIn, BeaconsIn))
    components["securitySchemes"] = {SCHEME: _KEY}
    components["responses"] = {_name(status): _error(status) for status in _ERRORS}
    for path in document["paths"].values():
        for operation in path.values():
            _complete(operation, schemas)
    return document


def _complete(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    answers = operation["responses"]
    for status in _ERRORS:
        if not _is_own(answers.get(str(status))):
            answers[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    for holder in (operation.get("requestBody", {}), *answers.values()):
        body = holder.get("content", {}).get("application/json")
        if body is not None and "example" not in body:
            body["example"] = sample(body["schema"], schemas)
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _present(parameter["schema"])


def _is_own(answer: dict[str, Any] | None) -> bool:
    """Whether a route has declared this answer itself, rather than FastAPI for it."""
    return answer is not None and answer["description"] != "Validation Error"


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without null: in a query or a header a value is there or not."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**kinds[0], **rest} if len(kinds) == 1 else schema


def _name(status: int) -> str:
    return next(name for name, code in CODES.items() if code.status == status)


def _error(status: int) -> dict[str, Any]:
    """The answer of a status, with an example for each of its codes."""
    codes = {name: code for name, code in CODES.items() if code.status == status}
    examples = {
        name: {"summary": code.title, "value": problem(name, code.example).model_dump(mode="json")}
        for name, code in codes.items()
    }
    body = {"schema": {"$ref": _REF.format(model="Problem")}, "examples": examples}
    return {
        "description": " ".join(code.meaning for code in codes.values()),
        "headers": _HEADERS.get(status, {}),
        "content": {"application/problem+json": body},
    }


def sample(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """An example of a schema, made of the examples and defaults of its fields; a field without either is left out."""
    if "$ref" in schema:
        return sample(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "examples" in schema:
        return schema["examples"][0]
    if "default" in schema:
        return schema["default"]
    if schema.get("type") == "array":
        return [sample(schema["items"], schemas)]
    fields = schema.get("properties", {}).items()
    shown = {name: sample(field, schemas) for name, field in fields if _has_sample(field)}
    return {name: value for name, value in shown.items() if value is not None}


def _has_sample(schema: dict[str, Any]) -> bool:
    return any(name in schema for name in ("$ref", "examples", "default")) or schema.get("type") == "array"
