"""The OpenAPI document: what FastAPI knows, with the events' own schemas, problems, and who may do what."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.bodies import JSON, undecodable, unsupported
from api.limits import BODY_BYTES, too_large, too_slow
from api.models import Model
from api.problems import (
    MEDIA_TYPE,
    SCHEMA,
    Problem,
    forbidden,
    invalid,
    late,
    no_such,
    slow_down,
    unauthenticated,
    unavailable,
    unforeseen,
)
from api.roles import ACCESS, Role
from schemas.documents import EVENTS, json_schema

ALWAYS: Final = (400, 422, 500, 503, 504)
"""What any route may answer: a request that cannot be read, and a service that cannot serve."""
FOR_TOKENS: Final = (401, 403, 429)

USUAL: Final = {
    problem.status: problem
    for problem in (
        undecodable("not JSON: Expecting value at character 0"),
        unauthenticated(),
        forbidden("operator"),
        no_such("user 404"),
        too_slow(),
        too_large(BODY_BYTES),
        unsupported(JSON),
        invalid([{"where": "query.limit", "what": "Input should be greater than or equal to 1"}]),
        slow_down(1),
        unforeseen(),
        unavailable("the database cannot serve just now"),
        late(),
    )
}
"""What stands as the example of a status for which a route has no problems of its own."""


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
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _show_nulls(made["paths"][route.path_format][method.lower()]["responses"], route.responses)
    return made


def _complete(operation: dict[str, Any], role: Role) -> None:
    answers: dict[str, Any] = operation["responses"]
    answers.pop("422", None) if "HTTPValidationError" in str(answers.get("422")) else None
    for status in ALWAYS if role is Role.PUBLIC else (*ALWAYS, *FOR_TOKENS):
        answers.setdefault(str(status), _describe(status))
    if role is not Role.PUBLIC:
        operation["security"] = [{"bearer": []}]
        operation["description"] = f"{operation.get('description', '')}\n\nTakes the role {role.name.lower()}.".strip()


def _show_nulls(answers: dict[str, Any], given: Mapping[int | str, dict[str, Any]]) -> None:
    """Give examples back the nulls that FastAPI leaves out of all that it is given."""
    for status, own in given.items():
        for media_type, content in own.get("content", {}).items():
            if "example" in content:
                answers[str(status)]["content"][media_type]["example"] = content["example"]


def problems(*those: int | Problem) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: what it answers with besides what any may, by status or as what is answered itself."""
    found: dict[int, list[Problem]] = {}
    for one in those:
        if isinstance(one, Problem):
            found.setdefault(one.status, []).append(one)
        else:
            found.setdefault(one, [])
    return {status: _describe(status, own) for status, own in found.items()}


def _describe(status: int, own: Sequence[Problem] = ()) -> dict[str, Any]:
    examples = own or ([USUAL[status]] if status in USUAL else [])
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if examples:
        content["examples"] = {problem.code: {"value": problem.document()} for problem in examples}
    return {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: content}}


def answer(status: int, example: Model, description: str) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: an example of what it answers when all is well."""
    content = {JSON: {"example": example.model_dump(mode="json")}}
    return {status: {"description": description, "content": content}}


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
