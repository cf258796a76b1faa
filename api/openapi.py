"""The OpenAPI document: what FastAPI knows, with the events' own schemas, problems, and who may do what."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import SCHEMA, describe
from api.roles import ACCESS, Role
from schemas.documents import EVENTS, json_schema

ALWAYS: Final = (400, 422, 500, 503, 504)
"""What any route may answer: a request that cannot be read, and a service that cannot serve."""
FOR_TOKENS: Final = (401, 403, 429)


def document(app: FastAPI) -> dict[str, Any]:
    """The document of `app`, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _make(app)
    return app.openapi_schema


def _make(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description="Errors are `application/problem+json`; go by `code`.",
        routes=app.routes,
    )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = SCHEMA
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `laurels tokens create`, or a JWT."}
    }
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            _complete(operation, ACCESS[method.upper(), path])
    return made


def _complete(operation: dict[str, Any], role: Role) -> None:
    answers: dict[str, Any] = operation["responses"]
    answers.pop("422", None) if "HTTPValidationError" in str(answers.get("422")) else None
    for status in ALWAYS if role is Role.PUBLIC else (*ALWAYS, *FOR_TOKENS):
        answers.setdefault(str(status), describe(status))
    if role is not Role.PUBLIC:
        operation["security"] = [{"bearer": []}]
        operation["description"] = f"{operation.get('description', '')}\n\nTakes the role {role.name.lower()}.".strip()


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the problems that it answers with besides those that any may."""
    return {status: describe(status) for status in statuses}


def event_schemas() -> dict[str, dict[str, Any]]:
    """Every event's schema by its struct's name, whole in itself."""
    return {kind.__name__: event_schema(name) for name, kind in EVENTS.items()}


def event_schema(name: str, *, without: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The schema of a body that is an event: `without` the fields that come otherwise, some of them `optional`."""
    schema = dict(json_schema(name, EVENTS[name]))
    parts = schema.pop("$defs", {})
    for member in ("$schema", "$id"):
        schema.pop(member)
    schema["properties"] = {field: of for field, of in schema["properties"].items() if field not in without}
    schema["required"] = [field for field in schema["required"] if field not in {*without, *optional}]
    inlined: dict[str, Any] = _inline(schema, parts)
    return inlined


def _inline(schema: Any, parts: dict[str, Any]) -> Any:
    match schema:
        case {"$ref": str() as reference}:
            return _inline(parts[reference.rpartition("/")[2]], parts)
        case dict():
            return {name: _inline(value, parts) for name, value in schema.items()}
        case list():
            return [_inline(item, parts) for item in schema]
    return schema
