"""Whether a contract still holds for those who rely on the published one.

What is read must go on being accepted: whatever the published schema allows, the new one must. What is sent must go
on being understood: whatever the new schema allows, the published one must. Either way no published field goes away
and no default changes its meaning.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

Schema = dict[str, Any]
Direction = Literal["read", "sent"]

_FLOORS: Final = ("minimum", "minLength", "minItems")
_CEILINGS: Final = ("maximum", "maxLength", "maxItems")


def find_breaks(published: Schema, generated: Schema, direction: Direction) -> list[str]:
    """Everything that breaks the published contract; each names the field."""
    before, now = _inlined(published, published), _inlined(generated, generated)
    fields_before, fields_now = dict(_fields(before, "")), dict(_fields(now, ""))
    gone = [f"{path}: removed" for path in fields_before if path not in fields_now]
    defaults = [
        f"{path}: default changed from {fields_before[path]['default']!r} to {fields_now[path].get('default')!r}"
        for path in fields_before
        if path in fields_now
        and "default" in fields_before[path]
        and fields_before[path]["default"] != fields_now[path].get("default")
    ]
    written, expected = (before, now) if direction == "read" else (now, before)
    return [*gone, *defaults, *_refused(written, expected, "")]


def _inlined(schema: Any, document: Schema) -> Any:
    """`schema` with every reference replaced by what it refers to."""
    match schema:
        case {"$ref": str(target)}:
            return _inlined(document["$defs"][target.removeprefix("#/$defs/")], document)
        case dict():
            return {name: _inlined(value, document) for name, value in schema.items() if name != "$defs"}
        case list():
            return [_inlined(item, document) for item in schema]
    return schema


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every field with its path, those of lists and of alternatives too."""
    for alternative in schema.get("anyOf", []):
        yield from _fields(alternative, path)
    if isinstance(schema.get("items"), dict):
        yield from _fields(schema["items"], f"{path}[]")
    for name, field in schema.get("properties", {}).items():
        inner = f"{path}.{name}" if path else name
        yield inner, field
        yield from _fields(field, inner)


def _refused(written: Schema, expected: Schema, path: str) -> Iterator[str]:
    """Where something that `written` allows is not allowed by `expected`."""
    accepting = expected.get("anyOf", [expected])
    for alternative in written.get("anyOf", [written]):
        fitting = [each for each in accepting if _types(alternative) <= _types(each)]
        if fitting:
            yield from min((list(_refused_by(alternative, each, path)) for each in fitting), key=len)
        else:
            yield f"{path or 'message'}: {_said(alternative)} is not expected"


def _refused_by(written: Schema, expected: Schema, path: str) -> Iterator[str]:
    name = path or "message"
    if "enum" in expected:
        for value in written.get("enum", ["any other value"]):
            if value not in expected["enum"]:
                yield f"{name}: {value} is not expected"
    yield from _limits(written, expected, name)
    yield from _members_refused(written, expected, path)
    for inner, inside in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(expected.get(inner), dict):
            yield from _refused(written.get(inner, {}), expected[inner], f"{path}{inside}")


def _members_refused(written: Schema, expected: Schema, path: str) -> Iterator[str]:
    prefix = f"{path}." if path else ""
    for name in expected.get("required", []):
        if name not in written.get("required", []):
            yield f"{prefix}{name}: required, and may be missing"
    given = written.get("properties", {})
    for name, field in expected.get("properties", {}).items():
        if name in given:
            yield from _refused(given[name], field, f"{prefix}{name}")


def _limits(written: Schema, expected: Schema, name: str) -> Iterator[str]:
    for limit in _FLOORS:
        if limit in expected and written.get(limit, float("-inf")) < expected[limit]:
            yield f"{name}: {limit} {expected[limit]}, and may be less ({written.get(limit, 'unlimited')})"
    for limit in _CEILINGS:
        if limit in expected and written.get(limit, float("inf")) > expected[limit]:
            yield f"{name}: {limit} {expected[limit]}, and may be more ({written.get(limit, 'unlimited')})"
    for rule in ("pattern", "format", "uniqueItems"):
        if rule in expected and written.get(rule) != expected[rule]:
            yield f"{name}: {rule} {expected[rule]}, and need not be"


def _types(schema: Schema) -> set[str]:
    """The JSON types that `schema` allows; an integer is a number too, and without any word all types are allowed."""
    if "type" in schema:
        types = {schema["type"]}
    elif "enum" in schema:
        types = {"string" if isinstance(value, str) else "integer" for value in schema["enum"]}
    else:
        types = {"object", "array", "string", "number", "boolean", "null"}
    return types | {"integer"} if "number" in types else types


def _said(schema: Schema) -> str:
    return " or ".join(sorted(_types(schema)))
